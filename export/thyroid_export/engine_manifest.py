"""From a network of the repository to a plan and its record beside it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from thyroid_export.engine_builder import BuildOptions, Built, build_plan, read_network
from thyroid_export.engine_graph import precision_of
from thyroid_export.engine_runtime import EngineError, is_for, load_runtime, version_of
from thyroid_pipeline.plan_machine import Gpu, Machine
from thyroid_pipeline.plan_manifest import (
    MADE_OF_KEY,
    PlanRecord,
    Runtime,
    file_sha256,
    network_path,
    plan_path,
    record_path,
    record_text,
)

Buffer = bytes | memoryview


def build_engine(
    repository: Path,
    model: str,
    runtime: Runtime,
    options: BuildOptions,
    machine: Machine,
    *,
    out: Path | None = None,
    timing_cache: Path | None = None,
    warn: Callable[[str], object] = lambda _: None,
) -> PlanRecord:
    """Build the plan of one network of the repository, and record it.

    Args:
        repository: The model repository.
        model: A network of the contract.
        runtime: Whose plan.
        options: How it is built.
        machine: This machine.
        out: A folder laid out as the repository that gets the plan; None for the repository.
        timing_cache: Read where it exists, and written.
        warn: Takes each warning of the library, and that the plan could not be tried.

    Returns:
        The record, as it was written.

    Raises:
        EngineError: The library is missing or refuses, or what is built cannot be written.
        FileNotFoundError: The network's ONNX file is missing.
        RuleError: Its graph breaks a rule of TensorRT.
    """
    onnx_file = network_path(repository, model)
    if not onnx_file.is_file():
        raise FileNotFoundError(
            f"{onnx_file} does not exist, the network {model} was wanted there: give another "
            "--model-repository, or export it with `thyroid-export onnx --run FOLDER`"
        )
    if runtime is Runtime.TENSORRT and len({gpu.name for gpu in machine.gpus}) > 1:
        names = ", ".join(gpu.name for gpu in machine.gpus)
        raise EngineError(
            f"this machine has GPUs of several kinds ({names}), and TensorRT builds for one; show "
            "the build one kind alone: docker run --gpus device=N"
        )
    plan = plan_path(out or repository, model, runtime)
    _check_writable(plan, "--out")
    if timing_cache is not None:
        _check_writable(timing_cache, "--timing-cache")
    trt = load_runtime(runtime)
    onnx_sha256 = file_sha256(onnx_file)
    foreign = _foreign_gpu(runtime, options, machine)
    built = build_plan(trt, onnx_file, options, _read_cache(timing_cache), try_it=foreign is None)
    for warning in built.warnings:
        warn(f"{runtime.label} warns: {warning}")
    if foreign is not None:
        targets = ", ".join(options.compute_capabilities) or "8.0 and later"
        warn(
            f"{plan} was not tried here: it is for compute capability {targets}, and "
            f"{foreign.name} has {foreign.compute_capability}"
        )
    plan.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(plan, built.plan)
    network = read_network(onnx_file)
    made_of = {entry.key: entry.value for entry in network.metadata_props}.get(MADE_OF_KEY)
    record = PlanRecord(
        model=model,
        runtime=runtime,
        runtime_version=version_of(trt),
        onnx_sha256=onnx_sha256,
        made_of_sha256=made_of or onnx_sha256,
        plan_sha256=file_sha256(plan),
        plan_bytes=built.plan.nbytes,
        precision=_multiplied_in(precision_of(network), options),
        batch=options.batch,
        workspace_mib=options.workspace_mib,
        version_compatible=options.version_compatible,
        hardware_compatibility=options.hardware_compatibility,
        **_built_where(runtime, options, machine),
        built=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    # Behind the plan: a plan whose record is an earlier one's is refused, not served.
    write_atomically(record_path(plan), record_text(record).encode())
    _write_cache(timing_cache, built)
    return record


def _check_writable(file: Path, option: str) -> None:
    """See that a file can be written, ahead of a build that takes minutes."""
    folder = next(each for each in file.absolute().parents if os.access(each, os.F_OK))
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise EngineError(
            f"{file} cannot be written: {folder} is no folder that this user may write into, as "
            f"was wanted; name another with {option}"
        )


def _foreign_gpu(runtime: Runtime, options: BuildOptions, machine: Machine) -> Gpu | None:
    """The GPU on which the library would load the plan, where the plan is not for it."""
    gpus = [gpu for gpu in machine.gpus if not is_for(gpu, runtime, options.compute_capabilities)]
    return gpus[0] if gpus else None


def _multiplied_in(precision: str, options: BuildOptions) -> str:
    """An ONNX file's precision, as the plan has it."""
    return precision.replace("fp32", "tf32") if options.tf32 else precision


def _built_where(runtime: Runtime, options: BuildOptions, machine: Machine) -> dict[str, Any]:
    gpu = machine.gpus[0] if machine.gpus else None
    targets = options.compute_capabilities
    if runtime is Runtime.TENSORRT and gpu is not None:
        targets = (gpu.compute_capability,)
    return {
        "compute_capabilities": targets,
        "gpu": gpu and gpu.name,
        "driver": gpu and gpu.driver,
        "cuda": machine.cuda,
    }


def write_atomically(path: Path, content: Buffer) -> None:
    """Write a file that is there whole or not at all, whoever looks and whatever fails.

    Args:
        path: The file; an earlier one is replaced.
        content: What it holds.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o666 & ~umask)  # mkstemp's own mode would hide it from the server's user
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _read_cache(file: Path | None) -> bytes | None:
    if file is None:
        return None
    return file.read_bytes() if file.is_file() else b""


def _write_cache(file: Path | None, built: Built) -> None:
    if file is not None and built.timing_cache is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, built.timing_cache)
