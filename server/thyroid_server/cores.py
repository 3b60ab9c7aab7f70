"""How many cores this process may use, and how many a server gives to its networks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from thyroid_server.errors import PreflightError

_CGROUPS = Path("sys/fs/cgroup")
_VERSION_1 = ("quota", "period")


def usable_cores(root: Path = Path("/")) -> int:
    """Count the cores that this process may use, at least 1.

    The affinity mask says on which cores it may run, and a quota of its control group how much of
    their time it gets: a container of 2.5 cores on a machine of 64 sees all 64, and a thread for
    each would only wait for its share.

    Args:
        root: Where `proc` and `sys` are mounted.
    """
    affine = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, min([affine, *(int(quota) for quota in _quotas(root))]))


def cores_to_share(wanted: int | None) -> int:
    """Say how many cores a server's networks share.

    Args:
        wanted: As in `ServerSettings`; None for all that may be used.

    Raises:
        PreflightError: It is below 1.
    """
    if wanted is None:
        return usable_cores()
    if wanted < 1:
        raise PreflightError(
            f"the networks were given {wanted} cores",
            wanted="1 or more, or None for all that this process may use",
            mend="give another number, or none",
        )
    return wanted


def _quotas(root: Path) -> Iterator[float]:
    """Yield every limit, in cores, that holds for this process."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2: one hierarchy, in which each level may set a limit
            base = root / _CGROUPS
            for folder in _upwards(base, path):
                if (words := _words(folder / "cpu.max")) and len(words) == 2:
                    yield from _share(*words)
        elif "cpu" in controllers.split(","):
            base = root / _CGROUPS / controllers
            for folder in _upwards(base, path):
                quota, period = (_words(folder / f"cpu.cfs_{name}_us") for name in _VERSION_1)
                if quota and period:
                    yield from _share(quota[0], period[0])


def _upwards(base: Path, path: str) -> Iterator[Path]:
    """Yield a control group's folder and those above it; those that are not mounted are none."""
    folder = base / path.strip("/")
    while folder != base:
        yield folder
        folder = folder.parent
    yield base


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split()
    except OSError:
        return []


def _share(quota: str, period: str) -> Iterator[float]:
    """Yield a quota of CPU time per period, both in us, in cores; nothing where unlimited."""
    if quota.isdecimal() and int(period) > 0:
        yield int(quota) / int(period)
