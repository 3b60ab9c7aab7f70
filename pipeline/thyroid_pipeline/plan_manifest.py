"""What a TensorRT plan is, and of what and for what it was built: a record beside each plan.

A plan is built where it is served and never committed, so its record is no part of the
repository's `manifest.json`. The export writes it, the server reads it before it serves.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

from thyroid_pipeline import contract

# The metadata of an ONNX file in mixed precision that holds the SHA-256 of the FP32 file of which
# it was made.
MADE_OF_KEY = "thyroid_triton.made_of_sha256"

# A version such as 10.16.1.11, or a compute capability such as 8.9.
_NUMBERS = re.compile(r"\d+(?:\.\d+)+")


class Runtime(Enum):
    """A library that runs plans. The value is its name on the command line and in records."""

    TENSORRT = "tensorrt"
    RTX = "rtx"

    @property
    def label(self) -> str:
        """Its name in messages."""
        return "TensorRT" if self is Runtime.TENSORRT else "TensorRT for RTX"

    @property
    def plan_file(self) -> str:
        """The plan's name in the version's folder: each runtime's own, since neither reads both."""
        return contract.PLAN_FILE if self is Runtime.TENSORRT else "model.rtx.plan"


class HardwareCompatibility(Enum):
    """On which GPUs beside the builder's a TensorRT plan runs."""

    NONE = "none"
    SAME_CAPABILITY = "same-capability"
    AMPERE = "ampere"


@dataclass(frozen=True)
class BatchProfile:
    """The batch sizes of a plan: it is tuned for `opt` and takes any from `min` to `max`."""

    min: int
    opt: int
    max: int


@dataclass(frozen=True)
class PlanRecord:
    """A plan's record.

    Attributes:
        model: The model of the contract.
        runtime: Of whose builder it is.
        runtime_version: The builder's version, such as 10.16.1.11.
        onnx_sha256: Of the ONNX file that it was built from.
        made_of_sha256: Of the FP32 file of which that one was made; of itself where it is FP32.
        plan_sha256: Of the plan.
        plan_bytes: The plan's size.
        precision: Types of the matrix products, from the ONNX file, such as `fp32`.
        batch: Its batch sizes.
        workspace_mib: The most GPU memory that a layer may take for itself, in MiB; None where the
            builder chose.
        version_compatible: Whether newer versions of the runtime read it, too.
        hardware_compatibility: Which other GPUs it runs on.
        compute_capabilities: Those it was built for, such as 8.9; none for the builder's default.
        gpu: Name of the GPU that it was built on; None without one.
        driver: Version of that GPU's driver; None without one.
        cuda: CUDA version of that driver; None without one.
        built: When, in UTC, as ISO 8601.
    """

    model: str
    runtime: Runtime
    runtime_version: str
    onnx_sha256: str
    made_of_sha256: str
    plan_sha256: str
    plan_bytes: int
    precision: str
    batch: BatchProfile
    workspace_mib: int | None
    version_compatible: bool
    hardware_compatibility: HardwareCompatibility
    compute_capabilities: tuple[str, ...]
    gpu: str | None
    driver: str | None
    cuda: str | None
    built: str


class PlanRecordError(ValueError):
    """A file is no record of a plan."""


def network_path(repository: Path, model: str) -> Path:
    """Where a network's ONNX file lies."""
    return repository / model / contract.MODEL_VERSION / contract.ONNX_FILE


def plan_path(repository: Path, model: str, runtime: Runtime) -> Path:
    """Where a network's plan lies."""
    return repository / model / contract.MODEL_VERSION / runtime.plan_file


def record_path(plan: Path) -> Path:
    """Where a plan's record lies: beside it."""
    return plan.with_name(f"{plan.name}.json")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file of any size, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def record_text(record: PlanRecord) -> str:
    """A record as it stands in its file: JSON."""
    values = asdict(record)
    values["runtime"] = record.runtime.value
    values["hardware_compatibility"] = record.hardware_compatibility.value
    return json.dumps(values, indent=2) + "\n"


def read_record(path: Path) -> PlanRecord:
    """Read a plan's record.

    Args:
        path: The file, see `record_path`.

    Returns:
        The record.

    Raises:
        FileNotFoundError: It is missing.
        PlanRecordError: It is no such record.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        _check_types(values)
        return PlanRecord(
            **{
                **values,
                "runtime": Runtime(values["runtime"]),
                "batch": BatchProfile(**values["batch"]),
                "hardware_compatibility": HardwareCompatibility(values["hardware_compatibility"]),
                "compute_capabilities": tuple(values["compute_capabilities"]),
            }
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise PlanRecordError(
            f"{path} is no record of a plan ({type(error).__name__}: {error}); the JSON that "
            "`thyroid-export engine` writes was wanted: build the plan again"
        ) from error


def _check_types(values: dict[str, Any]) -> None:
    types: dict[str, type | tuple[type, ...]] = {
        "plan_bytes": int,
        "batch": dict,
        "workspace_mib": (int, type(None)),
        "version_compatible": bool,
        "compute_capabilities": list,
        "gpu": (str, type(None)),
        "driver": (str, type(None)),
        "cuda": (str, type(None)),
    }
    for field in fields(PlanRecord):
        if not isinstance(values[field.name], types.get(field.name, str)):
            raise TypeError(f"{field.name} is {values[field.name]!r}")
    for number in (values["runtime_version"], *values["compute_capabilities"]):
        if not _NUMBERS.fullmatch(number):
            raise ValueError(f"{number!r} is no version")
