"""The machine, the versions, and what else goes on there. Nothing that names a host or a path."""

from __future__ import annotations

import platform
import re
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

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
    """Watch the machine before a load: the share of all cores in use, 0 to 1."""
    return float(psutil.cpu_percent(interval=seconds)) / 100


class Meter:
    """Measures this process's CPU time and the hypervisor's from its making on."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._wall_s = time.perf_counter()
        self._own_s = self._own()
        self._stolen_s = _stolen_s()

    def _own(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def shares(self) -> tuple[float, float]:
        """Return the shares of all cores that this process used and that were stolen."""
        core_s = max((time.perf_counter() - self._wall_s) * usable_cores(), 1e-9)
        return (self._own() - self._own_s) / core_s, (_stolen_s() - self._stolen_s) / core_s


def _stolen_s() -> float:
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else platform.processor()
