"""Checks TensorRT plans before Triton loads them, with messages that name the way to new ones.

Triton itself would say "unable to load plan" of a plan for another GPU, and serve one of an older
ONNX file without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from thyroid_pipeline import contract
from thyroid_pipeline.plan_machine import Gpu, Machine
from thyroid_pipeline.plan_manifest import (
    HardwareCompatibility,
    PlanRecord,
    PlanRecordError,
    Runtime,
    file_sha256,
    network_path,
    plan_path,
    read_record,
    record_path,
)
from thyroid_server.errors import PreflightError
from thyroid_server.plan_rebuild import Rebuild, how_to_rebuild, serves_batches

# What an RTX plan runs on where it was built for no compute capability in particular.
_RTX_DEFAULT_FROM = (8, 0)
_AMPERE = (8, 0)
# Version-compatible plans cross one border between majors: NVIDIA's support matrix of 11.4.
_NEXT_MAJOR = {10: 11}


class PlanError(PreflightError):
    """A plan is missing, broken, out of date, or not for this machine.

    Attributes:
        rebuild: How it is built again; None where that is not known.
    """

    def __init__(
        self,
        came: str,
        *,
        wanted: str,
        mend: str,
        rebuild: Rebuild | None = None,
    ) -> None:
        super().__init__(came, wanted=wanted, mend=mend)
        self.rebuild = rebuild


@dataclass(frozen=True)
class _Plan:
    """What the checks of one plan share: where it is, and how it is built again."""

    repository: Path
    model: str
    runtime: Runtime

    @property
    def file(self) -> Path:
        return plan_path(self.repository, self.model, self.runtime)

    def error(self, came: str, wanted: str, record: PlanRecord | None = None) -> PlanError:
        rebuild = how_to_rebuild(self.repository, self.model, self.runtime, record)
        mend = f"build it again: {rebuild.command}"
        return PlanError(came, wanted=wanted, mend=mend, rebuild=rebuild)


def check_plans(
    repository: Path,
    machine: Machine,
    *,
    runtime: Runtime = Runtime.TENSORRT,
    models: Sequence[contract.Model] = contract.NETWORKS,
) -> None:
    """See that every plan of a repository is whole, up to date and for this machine.

    An ONNX file that is not there makes no plan stale: an appliance may be given plans alone. What
    is wrong with a plan that is there is said on any machine; that one is missing, only where a GPU
    could run it.

    Args:
        repository: The model repository.
        machine: The machine that shall serve, see `read_machine`.
        runtime: The library that will run the plans.
        models: Those that are served from plans.

    Raises:
        PlanError: The first plan that cannot be served.
        PreflightError: The machine has no GPU, or not the library.
    """
    plans = [_Plan(repository, model.name, runtime) for model in models]
    records = {plan: _check_file(plan) for plan in plans if plan.file.is_file()}
    for plan, record in records.items():
        _check_batch(plan, record)
    version = _check_machine(machine, runtime)
    for plan in plans:
        if plan not in records:
            raise plan.error(
                f"there is no plan {plan.file}",
                wanted=f"the model {plan.model} compiled for this machine's GPU",
            )
    for plan, record in records.items():
        _check_version(plan, record, version)
        for gpu in machine.gpus:
            _check_gpu(plan, record, gpu)


def _check_machine(machine: Machine, runtime: Runtime) -> str:
    if not machine.gpus:
        raise PreflightError(
            "this machine shows no NVIDIA GPU: nvidia-smi is missing or lists none",
            wanted="a GPU and its driver, since plans run nowhere else",
            mend="choose a profile that needs none, --profile cpu; in a container, give it the GPU "
            "with --gpus all",
        )
    version = machine.runtimes.get(runtime)
    if version is None:
        raise PreflightError(
            f"{runtime.label} was not found on this machine",
            wanted=f"the library of {runtime.label} that will run the plans, to compare versions",
            mend="run this check where Triton runs: for TensorRT in its container, for TensorRT "
            "for RTX with pip install 'thyroid-triton[rtx]'",
        )
    return version


def _check_file(plan: _Plan) -> PlanRecord:
    try:
        record = read_record(record_path(plan.file))
    except FileNotFoundError:
        raise plan.error(
            f"the plan {plan.file} has no record {record_path(plan.file).name} beside it",
            wanted="the record that says of what and for what it was built",
        ) from None
    except PlanRecordError as error:
        raise plan.error(str(error), wanted="the record as it was written") from error
    if (record.model, record.runtime) != (plan.model, plan.runtime):
        raise plan.error(
            f"the plan {plan.file} is one of {record.model} for {record.runtime.label}",
            wanted=f"one of {plan.model} for {plan.runtime.label}",
        )
    size_bytes = plan.file.stat().st_size
    if size_bytes != record.plan_bytes:
        raise plan.error(
            f"the plan {plan.file} has {size_bytes} bytes",
            wanted=f"the {record.plan_bytes} bytes that were built; a copy may have been cut short",
            record=record,
        )
    found = file_sha256(plan.file)
    if found != record.plan_sha256:
        raise plan.error(
            f"the plan {plan.file} has the SHA-256 {found}",
            wanted=f"{record.plan_sha256}, as built: it was damaged or replaced",
            record=record,
        )
    network = network_path(plan.repository, plan.model)
    # A plan in mixed precision lies beside the FP32 file, or beside what was made of it.
    known = (record.made_of_sha256, record.onnx_sha256)
    if network.is_file() and (current := file_sha256(network)) not in known:
        raise plan.error(
            f"the plan {plan.file} is stale: it was built from an ONNX file with the SHA-256 "
            f"{record.made_of_sha256}",
            wanted=f"one built from {network}, which has {current}",
            record=record,
        )
    return record


def _check_batch(plan: _Plan, record: PlanRecord) -> None:
    if not serves_batches(record.batch):
        raise plan.error(
            f"the plan {plan.file} takes batches of {record.batch.min} to {record.batch.max}",
            wanted=f"1 to {contract.MAX_BATCH_SIZE}, as the model's config says",
            record=record,
        )


def _check_version(plan: _Plan, record: PlanRecord, version: str) -> None:
    built, running = _numbers(record.runtime_version), _numbers(version)
    if built == running:
        return
    came = f"the plan {plan.file} was built by {plan.runtime.label} {record.runtime_version}"
    if not record.version_compatible:
        raise plan.error(came, wanted=f"{version}, which runs here", record=record)
    crosses = _NEXT_MAJOR.get(built[0]) == running[0]
    if built > running or not (built[0] == running[0] or crosses):
        raise plan.error(
            f"{came}, and version-compatible",
            wanted=f"a version up to {version}, which runs here, that it can read",
            record=record,
        )


def _check_gpu(plan: _Plan, record: PlanRecord, gpu: Gpu) -> None:
    here = f"{gpu.name} (compute capability {gpu.compute_capability}), which is here"
    capability = _numbers(gpu.compute_capability)
    targets = {_numbers(each) for each in record.compute_capabilities}
    built_for = ", ".join(record.compute_capabilities)
    if plan.runtime is Runtime.RTX:
        fits = capability in targets if targets else capability >= _RTX_DEFAULT_FROM
        came = f"compute capability {built_for or '8.0 and later'}"
    elif record.hardware_compatibility is HardwareCompatibility.AMPERE:
        fits, came = capability >= _AMPERE, "compute capability 8.0 and later"
    elif record.hardware_compatibility is HardwareCompatibility.SAME_CAPABILITY:
        fits, came = capability in targets, f"compute capability {built_for or '(unknown)'}"
    else:
        fits = record.gpu == gpu.name and capability in targets
        came = f"{record.gpu or 'an unknown GPU'} (compute capability {built_for or 'unknown'})"
    if not fits:
        # Not the targets it was built for. Older GPUs are not among the default's: they are named.
        named = (gpu.compute_capability,) if capability < _RTX_DEFAULT_FROM else ()
        raise plan.error(
            f"the plan {plan.file} is for {came}",
            wanted=here,
            record=replace(record, compute_capabilities=named),
        )


def _numbers(version: str) -> tuple[int, ...]:
    """A version or compute capability, to be compared."""
    return tuple(int(part) for part in version.split("."))
