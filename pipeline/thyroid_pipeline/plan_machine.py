"""What of this machine decides which plans it can run: GPUs, driver, CUDA, TensorRT."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

from thyroid_pipeline.plan_manifest import Runtime

_NVIDIA_SMI = "nvidia-smi"
_TIMEOUT_S = 30
# The library that Triton's TensorRT backend links to, by the majors whose plans are built here.
_TENSORRT_LIBRARIES = ("libnvinfer.so.11", "libnvinfer.so.10")
_VERSION_PARTS = ("Major", "Minor", "Patch", "Build")
_RTX_PACKAGES = ("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12")


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: Its product name.
        compute_capability: Such as 8.9.
        driver: Version of its driver.
    """

    name: str
    compute_capability: str
    driver: str


@dataclass(frozen=True)
class Machine:
    """What decides which plans a machine can run.

    Attributes:
        gpus: Its GPUs; none where there is no driver.
        cuda: The newest CUDA that the driver runs; None where that cannot be told.
        runtimes: Version of each runtime that is there.
    """

    gpus: tuple[Gpu, ...]
    cuda: str | None
    runtimes: Mapping[Runtime, str]


def read_machine() -> Machine:
    """Read the facts of this machine; what is not there is left out."""
    gpus = parse_gpus(_ask("--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"))
    versions = {Runtime.TENSORRT: _tensorrt_version(), Runtime.RTX: _rtx_version()}
    return Machine(
        gpus=gpus,
        cuda=parse_cuda(_ask()) if gpus else None,
        runtimes={runtime: version for runtime, version in versions.items() if version},
    )


def parse_gpus(answer: str) -> tuple[Gpu, ...]:
    """The GPUs that nvidia-smi lists as lines of `name, compute capability, driver`."""
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.splitlines()]
    return tuple(
        Gpu(*row) for row in rows if len(row) == 3 and re.fullmatch(r"\d+\.\d+", row[1]) is not None
    )


def parse_cuda(answer: str) -> str | None:
    """The CUDA version in the head of nvidia-smi's table; newer drivers call it CUDA UMD."""
    found = re.search(r"CUDA (?:UMD )?Version\s*:\s*(\d+\.\d+)", answer)
    return found and found[1]


def library_version(name: str) -> str | None:
    """Version of a TensorRT library, by its own account.

    Args:
        name: Of the shared library, or its path.

    Returns:
        Such as 10.16.1.11; None where there is none, or one that does not say.
    """
    try:
        library = ctypes.CDLL(name)
        parts = [getattr(library, f"getInferLib{part}Version")() for part in _VERSION_PARTS]
    except (OSError, AttributeError):
        return None
    return ".".join(str(part) for part in parts)


def _tensorrt_version() -> str | None:
    versions = (library_version(name) for name in _TENSORRT_LIBRARIES)
    return next((version for version in versions if version is not None), None)


def _rtx_version() -> str | None:
    for package in _RTX_PACKAGES:
        try:
            found = re.match(r"\d+(?:\.\d+)+", metadata.version(package))
        except metadata.PackageNotFoundError:
            continue
        return found and found[0]
    return None


def _ask(*arguments: str) -> str:
    """What nvidia-smi answers; nothing where there is none or it fails."""
    try:
        answer = subprocess.run(
            [_NVIDIA_SMI, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout if answer.returncode == 0 else ""
