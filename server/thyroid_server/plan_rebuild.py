"""How a plan that cannot be served is built again, as it was built before where that is known."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from thyroid_pipeline import contract
from thyroid_pipeline.plan_manifest import (
    BatchProfile,
    HardwareCompatibility,
    PlanRecord,
    Runtime,
    file_sha256,
    network_path,
)

# The half precisions of `thyroid-export onnx --precision`, as a plan's record names them.
_HALVES = ("fp16", "bf16")


@dataclass(frozen=True)
class Rebuild:
    """How one plan is built again.

    Attributes:
        command: As shell text; of a plan in half precision two, joined by &&.
        half: The half precision that an ONNX file has to be made in first; None where it needs
            not.
        as_before: Whether it is built as it was; else with the defaults.
    """

    command: str
    half: str | None
    as_before: bool


def how_to_rebuild(
    repository: Path, model: str, runtime: Runtime, record: PlanRecord | None = None
) -> Rebuild:
    """Say how a plan is built again.

    Batch sizes that the served config cannot use are left out. In half precision the ONNX file
    comes first, in a folder beside the repository.

    Args:
        repository: The model repository.
        model: Whose plan.
        runtime: The library that runs it.
        record: Of the plan that is there; None where there is none.
    """
    half = _half_of(repository, record)
    if half is None:
        first, words = "", ["thyroid-export", "engine", "--model-repository", str(repository)]
    else:
        networks = repository.resolve().with_name(f"{repository.resolve().name}.{half}")
        made = ["thyroid-export", "onnx", "--model-repository", str(repository), "--model", model]
        first = shlex.join([*made, "--precision", half, "--out", str(networks)]) + " && "
        words = ["thyroid-export", "engine", "--model-repository", str(networks)]
        words += ["--out", str(repository)]
    words += ["--runtime", runtime.value, "--model", model]
    if record is not None:
        words += _options(record, runtime)
    return Rebuild(first + shlex.join(words), half, record is not None)


def serves_batches(batch: BatchProfile) -> bool:
    """Whether a plan takes every batch that the served config may bring."""
    return batch.min <= 1 and batch.max >= contract.MAX_BATCH_SIZE


def _options(record: PlanRecord, runtime: Runtime) -> list[str]:
    words = []
    if serves_batches(record.batch):
        words += ["--min-batch", str(record.batch.min), "--opt-batch", str(record.batch.opt)]
        words += ["--max-batch", str(record.batch.max)]
    if record.workspace_mib is not None:
        words += ["--workspace-mib", str(record.workspace_mib)]
    if "tf32" in record.precision.split("+"):
        words += ["--tf32"]
    if record.version_compatible:
        words += ["--version-compatible"]
    if record.hardware_compatibility is not HardwareCompatibility.NONE:
        words += ["--hardware-compatible", record.hardware_compatibility.value]
    # TensorRT's is that of the GPU it builds on, and cannot be chosen.
    if runtime is Runtime.RTX:
        for capability in record.compute_capabilities:
            words += ["--compute-capability", capability]
    return words


def _half_of(repository: Path, record: PlanRecord | None) -> str | None:
    """The half precision of a plan, unless the repository itself holds the file that it is of."""
    if record is None:
        return None
    half = next((each for each in _HALVES if each in record.precision.split("+")), None)
    network = network_path(repository, record.model)
    if half and network.is_file() and file_sha256(network) == record.onnx_sha256:
        return None
    return half
