"""What a model's Triton configuration says to ONNX Runtime.

The names are those of Triton's native ONNX Runtime backend, so that one configuration serves with
both: `intra_op_thread_count`, `inter_op_thread_count`, `execution_mode`, `enable_mem_arena`,
`enable_mem_pattern`, `memory.enable_memory_arena_shrinkage` and
`session.use_device_allocator_for_initializers` among the parameters, and
`optimization { graph { level } }`.

Beyond the native backend, any parameter `session.*` is handed to ONNX Runtime as a session
configuration entry of that name; the native one ignores those it does not know. Its
`share_session_between_instances` is ignored here: every instance is a process of its own.

`share_cores`, which the native backend ignores too, asks for as many threads for each request as
there are cores free, where the server has a pool of them; `intra_op_thread_count` then counts only
where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnxruntime

from thyroid_server.core_pool import SHARE_CORES

_GRAPH_LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    0: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_EXECUTION_MODES = {
    0: onnxruntime.ExecutionMode.ORT_SEQUENTIAL,
    1: onnxruntime.ExecutionMode.ORT_PARALLEL,
}
_SESSION_PREFIX = "session."
_RUN_ENTRY = "memory.enable_memory_arena_shrinkage"
# Threads that spin while they wait take the cores from every other session on the machine.
_SESSION_DEFAULTS = {
    "session.intra_op.allow_spinning": "0",
    "session.inter_op.allow_spinning": "0",
}

# ONNX Runtime's name of a type, and Triton's.
_TRITON_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
}


class ModelConfigError(ValueError):
    """A configuration that does not fit its ONNX file, or that this backend cannot follow."""


@dataclass(frozen=True)
class GraphTensor:
    """One input or output of an ONNX graph.

    Attributes:
        name: Its name.
        type: ONNX Runtime's name of its type, such as `tensor(float)`.
        shape: Its shape with the batch axis; None where an extent is not fixed.
    """

    name: str
    type: str
    shape: tuple[int | None, ...]

    @classmethod
    def of(cls, node: Any) -> GraphTensor:
        """Read it from a `NodeArg` of an inference session."""
        shape = tuple(extent if isinstance(extent, int) else None for extent in node.shape)
        return cls(node.name, node.type, shape)


def session_options(config: Mapping[str, Any]) -> onnxruntime.SessionOptions:
    """Build ONNX Runtime's session options.

    Args:
        config: The model configuration, as Triton hands it to a Python model.

    Raises:
        ModelConfigError: A value is none of those allowed.
    """
    options = onnxruntime.SessionOptions()
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = _one_of("optimization.graph.level", level, _GRAPH_LEVELS)
    mode = _integer(config, "execution_mode", 0)
    options.execution_mode = _one_of("execution_mode", mode, _EXECUTION_MODES)
    # 0 leaves the number to ONNX Runtime: one for each core.
    options.intra_op_num_threads = _threads(config, "intra_op_thread_count")
    options.inter_op_num_threads = _threads(config, "inter_op_thread_count")
    options.enable_cpu_mem_arena = bool(_integer(config, "enable_mem_arena", 1))
    options.enable_mem_pattern = bool(_integer(config, "enable_mem_pattern", 1))
    for key, value in (_SESSION_DEFAULTS | _session_entries(config)).items():
        options.add_session_config_entry(key, value)
    return options


def shares_cores(config: Mapping[str, Any]) -> bool:
    """Whether a model's instances take their cores from the server's pool.

    Raises:
        ModelConfigError: The parameter is no number.
    """
    return bool(_integer(config, SHARE_CORES, 0))


def run_options(config: Mapping[str, Any]) -> onnxruntime.RunOptions:
    """Build the options of a single run."""
    options = onnxruntime.RunOptions()
    if value := _parameter(config, _RUN_ENTRY):
        options.add_run_config_entry(_RUN_ENTRY, value)
    return options


def check_tensors(
    config: Mapping[str, Any], inputs: list[GraphTensor], outputs: list[GraphTensor]
) -> None:
    """See that a configuration and an ONNX graph agree.

    The configuration must name every input of the graph and at least one of its outputs. An
    extent that the graph fixes must be that number in the configuration; where the graph leaves
    it open, the configuration may fix it or say -1. With `max_batch_size` above 0 the first
    extent of every tensor of the graph is the batch, and must be open.

    Raises:
        ModelConfigError: They do not.
    """
    batched = config.get("max_batch_size", 0) > 0
    for kind, graph in (("input", inputs), ("output", outputs)):
        known = {tensor.name: tensor for tensor in graph}
        configured = {entry["name"]: entry for entry in config.get(kind, [])}
        if unknown := sorted(configured.keys() - known.keys()):
            raise ModelConfigError(
                f"the config names the {kind} {', '.join(unknown)}, which the ONNX file has not; "
                f"its {kind}s are {', '.join(known)}"
            )
        if not configured:
            raise ModelConfigError(f"the config names no {kind}; the ONNX file has {known}")
        missing = sorted(known.keys() - configured.keys())
        if missing and kind == "input":
            raise ModelConfigError(
                f"the ONNX file needs the input {', '.join(missing)}, which the config does not "
                "name; name every input"
            )
        for name, entry in configured.items():
            _check_tensor(kind, entry, known[name], batched=batched)


def _check_tensor(
    kind: str, entry: Mapping[str, Any], tensor: GraphTensor, *, batched: bool
) -> None:
    label = f"the {kind} {tensor.name}"
    if tensor.type not in _TRITON_TYPES:
        raise ModelConfigError(
            f"{label} of the ONNX file is {tensor.type}, which this backend does not serve; it "
            f"serves {', '.join(_TRITON_TYPES)}"
        )
    if entry["data_type"] != _TRITON_TYPES[tensor.type]:
        raise ModelConfigError(
            f"{label} is {entry['data_type']} in the config and {_TRITON_TYPES[tensor.type]} in "
            "the ONNX file; write the file's into the config"
        )
    if "reshape" in entry:
        raise ModelConfigError(
            f"{label} has a reshape in the config, which this backend does not serve; give its "
            "dims as they are in the ONNX file"
        )
    if batched and (not tensor.shape or tensor.shape[0] is not None):
        raise ModelConfigError(
            f"{label} has the shape {_text(tensor.shape)} in the ONNX file, whose first extent "
            "is no open batch, but max_batch_size is above 0; export it with a dynamic batch, or "
            "set max_batch_size to 0"
        )
    wanted = tensor.shape[1:] if batched else tensor.shape
    came = tuple(int(extent) for extent in entry["dims"])
    agrees = len(came) == len(wanted) and all(
        fixed is None or fixed == extent for extent, fixed in zip(came, wanted, strict=True)
    )
    if not agrees:
        raise ModelConfigError(
            f"{label} has dims {list(came)} in the config and {_text(wanted)} in the ONNX file"
            f"{' after its batch' if batched else ''}; write the file's into the config"
        )


def _text(shape: tuple[int | None, ...]) -> str:
    return str([-1 if extent is None else extent for extent in shape])


def _session_entries(config: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: str(value["string_value"])
        for key, value in config.get("parameters", {}).items()
        if key.startswith(_SESSION_PREFIX)
    }


def _parameter(config: Mapping[str, Any], name: str) -> str | None:
    entry = config.get("parameters", {}).get(name)
    return None if entry is None else str(entry["string_value"])


def _integer(config: Mapping[str, Any], name: str, default: int) -> int:
    text = _parameter(config, name)
    if text is None:
        return default
    words = {"true": 1, "false": 0}
    try:
        return words[text] if text in words else int(text)
    except ValueError as error:
        raise ModelConfigError(
            f"the parameter {name} is {text!r}; a whole number is wanted, as in "
            f'parameters {{ key: "{name}" value: {{ string_value: "{default}" }} }}'
        ) from error


def _threads(config: Mapping[str, Any], name: str) -> int:
    count = _integer(config, name, 0)
    if count < 0:
        raise ModelConfigError(
            f"the parameter {name} is {count}; 0 for one thread per core, or more, is wanted"
        )
    return count


def _one_of(name: str, value: int, allowed: Mapping[int, Any]) -> Any:
    if value not in allowed:
        raise ModelConfigError(f"{name} is {value}; one of {list(allowed)} is wanted")
    return allowed[value]
