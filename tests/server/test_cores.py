"""How many cores there are, on machines that are written into a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from thyroid_server.cores import cores_to_share, usable_cores
from thyroid_server.errors import PreflightError

CORES = 16


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes the files of a machine of 16 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CORES)))

    def write(cgroup: str, **files: str) -> Path:
        for name, text in {"proc/self/cgroup": cgroup, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_without_a_quota_it_is_the_affinity(machine: Any, tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == CORES
    unlimited = {"sys/fs/cgroup/cpu.max": "max 100000\n"}
    assert usable_cores(machine("0::/\n", **unlimited)) == CORES


@pytest.mark.parametrize(
    ("quota", "cores"), [("400000", 4), ("250000", 2), ("50000", 1), ("3200000", CORES)]
)
def test_a_quota_counts_in_whole_cores(machine: Any, quota: str, cores: int) -> None:
    files = {"sys/fs/cgroup/cpu.max": f"{quota} 100000\n"}
    assert usable_cores(machine("0::/\n", **files)) == cores


def test_the_narrowest_level_counts(machine: Any) -> None:
    files = {
        "sys/fs/cgroup/a.slice/cpu.max": "200000 100000\n",
        "sys/fs/cgroup/a.slice/b.scope/cpu.max": "800000 100000\n",
    }
    assert usable_cores(machine("0::/a.slice/b.scope\n", **files)) == 2


def test_version_1_is_read_where_a_container_mounts_it(machine: Any) -> None:
    folder = "sys/fs/cgroup/cpu,cpuacct"
    files = {f"{folder}/cpu.cfs_quota_us": "300000\n", f"{folder}/cpu.cfs_period_us": "100000\n"}
    cgroup = "12:pids:/docker/1\n4:cpu,cpuacct:/docker/1\n"
    assert usable_cores(machine(cgroup, **files)) == 3
    files[f"{folder}/cpu.cfs_quota_us"] = "-1\n"
    assert usable_cores(machine(cgroup, **files)) == CORES


def test_a_server_takes_what_it_is_given_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert cores_to_share(5) == 5
    assert cores_to_share(None) == 1
    with pytest.raises(PreflightError, match="were given 0 cores"):
        cores_to_share(0)
