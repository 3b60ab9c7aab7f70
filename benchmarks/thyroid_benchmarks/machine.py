"""The machine, the versions, and what else goes on there. Nothing that names a host or a path."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from thyroid_benchmarks.peers.settings import MARKER
from thyroid_server.cores import usable_cores

_PACKAGES = (
    "grpcio",
    "locust",
    "numpy",
    "nvidia-pytriton",
    "onnxruntime",
    "opencv-python-headless",
    "pillow",
    "thyroid-triton",
    "torch",
    "tritonclient",
)


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, memory, system."""
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "cores_of_machine": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def describe_versions() -> dict[str, str | None]:
    """Return the version of every package that matters; None where one is not installed."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


def describe_commit(checkout: Path) -> dict[str, Any]:
    """Return the commit and whether files differ from it; None each where this is no checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    changes = git("status", "--porcelain", "--untracked-files=no")
    return {
        "commit": git("rev-parse", "HEAD"),
        "changed": None if changes is None else changes != "",
    }


def others_share(seconds: float = 1.0) -> float:
    """Watch the machine before a load: the share of its cores that others use, 0 to 1.

    The server that is measured is none of them, however busy it keeps itself: see `tree_cpu_s`.
    """
    meter = Meter()
    time.sleep(seconds)
    return min(meter.shares().others, 1.0)


@dataclass(frozen=True)
class Shares:
    """Who used the processor during a load, each from 0 to 1.

    Attributes:
        own: This process, of the cores that it may use.
        others: Of the machine's cores, those that were neither this process, nor the server, nor a
            descendant of either.
        stolen: The hypervisor, of the cores that this process may use.
        served_s: Not a share: processor time of the server and of all descendants of this process,
            in seconds.
    """

    own: float
    others: float
    stolen: float
    served_s: float


class Meter:
    """Measures from its making on who uses the processor.

    Args:
        server: Process id of the server that is measured; None where it is a descendant of this
            process, or none of this machine.
    """

    def __init__(self, server: int | None = None) -> None:
        self._process = psutil.Process()
        self._roots = [self._process.pid, *([] if server is None else [server])]
        self._wall_s = time.perf_counter()
        self._begin = self._look()

    def _look(self) -> tuple[float, float, float, float]:
        """Return the seconds so far of this process, of others, stolen, and of the server."""
        own = self._process.cpu_times()
        machine = psutil.cpu_times()
        # Interrupts are nobody's and left out.
        used_s = machine.user + machine.nice + machine.system
        stolen_s = float(getattr(machine, "steal", 0.0))
        own_s = float(own.user + own.system)
        ours_s = tree_cpu_s(self._roots)  # this process and the server
        return own_s, used_s - ours_s, stolen_s, ours_s - own_s

    def shares(self) -> Shares:
        """Return the shares since the making."""
        wall_s = max(time.perf_counter() - self._wall_s, 1e-9)
        own_s, others_s, stolen_s, served_s = (
            end - begin for end, begin in zip(self._look(), self._begin, strict=True)
        )
        usable_s = wall_s * usable_cores()
        machine_s = wall_s * (os.cpu_count() or usable_cores())
        # The kernel counts the machine's time by ticks and a process's exactly, so that nothing
        # may come out as a little less.
        others = max(others_s, 0.0) / machine_s
        return Shares(own_s / usable_s, others, stolen_s / usable_s, max(served_s, 0.0))


def tree_cpu_s(roots: Sequence[int]) -> float:
    """Sum the CPU time of processes and all of their descendants, ended ones included.

    A descendant that carries the marker of a peer's server stands for all that carry it: some
    frameworks hand daemons over to the system's first process.
    """
    processes: set[psutil.Process] = set()
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(root)
            processes |= {process, *process.children(recursive=True)}
    if markers := {_marker(process) for process in processes} - {None}:
        processes |= {one for one in psutil.process_iter() if _marker(one) in markers}
    total_s = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total_s += times.user + times.system + times.children_user + times.children_system
    return total_s


def _marker(process: psutil.Process) -> str | None:
    """Return the marker of the peer's server that a process belongs to; None where it has none."""
    try:
        return process.environ().get(MARKER)
    except psutil.Error:
        return None


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else platform.processor()
