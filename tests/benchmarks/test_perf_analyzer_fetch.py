"""How perf_analyzer is fetched, and what is said where it cannot be had."""

from __future__ import annotations

import io
import platform
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from thyroid_benchmarks.peer_environment import PeerUnavailableError
from thyroid_benchmarks.perf_analyzer_fetch import fetch_perf_analyzer


def wheel(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return buffer.getvalue()


def registry(command: Sequence[str]) -> None:
    """Do what pip, apt-get and dpkg-deb would."""
    if "pip" in command:
        folder = Path(command[list(command).index("--dest") + 1])
        is_client = str(command[-1]).startswith("tritonclient")
        name = "x.data/data/bin/perf_analyzer" if is_client else "nvidia/lib/libcudart.so.12"
        (folder / f"{'client' if is_client else 'cuda'}-1-py3-none-any.whl").write_bytes(
            wheel(name)
        )
    elif command[0] == "sh":
        (Path(command[-1]) / "libb64.deb").touch()
    else:
        library = Path(command[-1]) / "usr" / "lib" / "libb64.so.0d"
        library.parent.mkdir(parents=True)
        library.touch()


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")


@pytest.mark.usefixtures("linux")
def test_the_program_is_fetched_once(tmp_path: Path) -> None:
    found = fetch_perf_analyzer(tmp_path, registry)
    assert found.program.stat().st_mode & 0o111
    assert [len(list(folder.glob("lib*.so*"))) for folder in found.libraries] == [1, 1]

    def never(command: Sequence[str]) -> None:
        raise AssertionError(command)

    assert fetch_perf_analyzer(tmp_path, never) == found


@pytest.mark.usefixtures("linux")
def test_a_registry_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    def refuse(command: Sequence[str]) -> None:
        raise PeerUnavailableError("python -m pip ended with exit code 1: no route")

    for _ in range(2):
        with pytest.raises(PeerUnavailableError, match="no route"):
            fetch_perf_analyzer(tmp_path, refuse)


def test_another_machine_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(PeerUnavailableError, match=r"aarch64; perf_analyzer is built for"):
        fetch_perf_analyzer(tmp_path)


@pytest.mark.usefixtures("linux")
def test_another_distribution_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(PeerUnavailableError, match="there is no apt-get"):
        fetch_perf_analyzer(tmp_path, registry)
