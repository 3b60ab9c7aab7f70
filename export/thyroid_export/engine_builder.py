"""ONNX to plan: one way for TensorRT 10.13 and later, TensorRT 11 and TensorRT for RTX.

The network is strongly typed: every precision is the ONNX file's, and no flag changes it. TensorRT
11 knows no other kind; its enumerations are numbered otherwise than TensorRT 10's, so that every
number is asked of the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from thyroid_export.engine_graph import describe_inputs, input_shapes
from thyroid_export.engine_progress import make_monitor
from thyroid_export.engine_runtime import EngineError, loading_fault
from thyroid_export.trt_rules import check_rules
from thyroid_pipeline.plan_logger import (
    blames_missing_gpu,
    errors_among,
    logger_of,
    warnings_among,
)
from thyroid_pipeline.plan_manifest import BatchProfile, HardwareCompatibility

_MIB = 1 << 20
_HARDWARE_LEVELS = {
    HardwareCompatibility.SAME_CAPABILITY: "SAME_COMPUTE_CAPABILITY",
    HardwareCompatibility.AMPERE: "AMPERE_PLUS",
}


@dataclass(frozen=True)
class BuildOptions:
    """How a plan is built.

    Attributes:
        batch: Its batch sizes.
        workspace_mib: The most GPU memory that a layer may take for itself, in MiB; None leaves
            it to the library.
        version_compatible: Whether newer versions of TensorRT shall read it, too.
        hardware_compatibility: On which other GPUs it shall run.
        compute_capabilities: Targets of TensorRT for RTX, such as 8.9; none for its default.
        tf32: Whether products of FP32 may round what they multiply to TF32.
    """

    batch: BatchProfile
    workspace_mib: int | None = None
    version_compatible: bool = False
    hardware_compatibility: HardwareCompatibility = HardwareCompatibility.NONE
    compute_capabilities: tuple[str, ...] = ()
    tf32: bool = False


@dataclass(frozen=True)
class Built:
    """What a build gave.

    Attributes:
        plan: The serialised engine.
        timing_cache: What the next build may reuse; None where none was given.
        warnings: What the library had to say.
    """

    plan: memoryview
    timing_cache: bytes | None
    warnings: tuple[str, ...]


def build_plan(
    trt: Any,
    onnx_file: Path,
    options: BuildOptions,
    timing_cache: bytes | None = None,
    *,
    try_it: bool = True,
) -> Built:
    """Build a plan.

    Args:
        trt: Module of the runtime, see `load_runtime`.
        onnx_file: The network.
        options: How.
        timing_cache: Of an earlier build, may be empty; None uses none.
        try_it: Whether the plan is loaded once it is built, which wants a GPU that it is for, or
            none.

    Returns:
        The plan.

    Raises:
        EngineError: The library refuses the graph, an option or the machine.
        KeyboardInterrupt: Control-C was pressed.
        RuleError: The graph breaks a rule of TensorRT.
    """
    model = read_network(onnx_file)
    check_rules(model, str(onnx_file))
    logger = logger_of(trt)
    logger.messages.clear()
    builder = _make_builder(trt, logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(trt.OnnxParser(network, logger), onnx_file, model, logger)
    config = builder.create_builder_config()
    _configure(trt, config, options)
    _add_batches(builder, config, input_shapes(model), options.batch)
    cache = None if timing_cache is None else _attach_cache(config, timing_cache)
    monitor = make_monitor(trt)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if monitor.interrupted:
        raise KeyboardInterrupt
    if plan is None:
        raise EngineError(
            f"{trt.__name__} {trt.__version__} built nothing of {onnx_file}: "
            f"{errors_among(logger.messages)}. Where it names a node, look at it in the ONNX file; "
            "where it names memory, give --workspace-mib or a smaller --max-batch"
        )
    warnings = warnings_among(logger.messages)
    data = memoryview(plan)
    if try_it and (fault := loading_fault(trt, data, trusted=True)):
        raise EngineError(
            f"the plan of {onnx_file} was built, but does not load: {fault}. Report it to NVIDIA "
            f"with the version, {trt.__name__} {trt.__version__}"
        )
    return Built(data, None if cache is None else bytes(cache.serialize()), warnings)


def read_network(file: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        EngineError: It is none.
    """
    try:
        model = onnx.load(file)
    except DecodeError as error:
        model, reason = onnx.ModelProto(), str(error)
    else:
        reason = "it holds no graph"
    if not model.graph.node:
        raise EngineError(
            f"{file} is no ONNX file ({reason}); an exported network was wanted: export it again "
            "with `thyroid-export onnx`, or copy it again"
        )
    return model


def _make_builder(trt: Any, logger: Any) -> Any:
    try:
        return trt.Builder(logger)
    except (TypeError, RuntimeError) as error:  # the library gave its bindings a null pointer
        raise EngineError(
            f"{trt.__name__} {trt.__version__} makes no builder here: "
            f"{errors_among(logger.messages)}. It wants the GPU and driver of the machine that "
            "will serve: build there, or without a GPU by --runtime rtx"
        ) from error


def _parse(parser: Any, file: Path, model: onnx.ModelProto, logger: Any) -> None:
    if parser.parse_from_file(str(file)):
        return
    faults = [parser.get_error(index) for index in range(parser.num_errors)]
    listed = [
        f"  {describe_inputs(model, fault.node()) or fault.node_operator()}: "
        f"{fault.code().name}, {_about_node(fault.desc())}"
        for fault in faults
    ]
    raise EngineError(
        f"the parser refuses {file}:\n"
        + ("\n".join(listed) or f"  {errors_among(logger.messages)}")
        + "\n  to mend it: change that node or the type of its inputs where the graph is exported"
    )


def _about_node(text: str) -> str:
    """A parser's description without what it adds about a GPU that parsing does not need."""
    return " ".join(line for line in text.splitlines() if line and not blames_missing_gpu(line))


def _configure(trt: Any, config: Any, options: BuildOptions) -> None:
    # NaN is an answer here, `no nodule`: no product with it may be taken for 0.
    config.set_flag(trt.BuilderFlag.STRICT_NANS)
    # The library's own choice is TF32, of which no ONNX file and no parity on a CPU tells.
    if options.tf32:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib * _MIB)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatibility in _HARDWARE_LEVELS:
        config.hardware_compatibility_level = getattr(
            trt.HardwareCompatibilityLevel, _HARDWARE_LEVELS[options.hardware_compatibility]
        )
    if options.compute_capabilities:
        config.num_compute_capabilities = len(options.compute_capabilities)
        for index, capability in enumerate(options.compute_capabilities):
            config.set_compute_capability(_target(trt, capability), index)


def _target(trt: Any, capability: str) -> Any:
    known = targets_of(trt)
    if capability not in known:
        raise EngineError(
            f"the compute capability {capability} is none that {trt.__name__} {trt.__version__} "
            f"builds for; one of {', '.join(known)} was wanted: leave it out for the library's "
            "default"
        )
    return getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}")


def targets_of(trt: Any) -> tuple[str, ...]:
    """The compute capabilities that TensorRT for RTX builds for, such as 8.9."""
    digits = [name[2:] for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    return tuple(f"{each[:-1]}.{each[-1]}" for each in sorted(digits, key=int))


def _add_batches(
    builder: Any, config: Any, shapes: Mapping[str, tuple[int, ...]], batch: BatchProfile
) -> None:
    profile = builder.create_optimization_profile()
    for name, sides in shapes.items():
        profile.set_shape(name, (batch.min, *sides), (batch.opt, *sides), (batch.max, *sides))
    config.add_optimization_profile(profile)


def _attach_cache(config: Any, content: bytes) -> Any:
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, False):
        raise EngineError(
            "the timing cache is of another GPU or version, or none; one written by this very "
            "installation was wanted: remove the file, or name another with --timing-cache"
        )
    return cache
