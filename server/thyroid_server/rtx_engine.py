"""A plan of TensorRT for RTX, loaded: its engine, its context, and what it says of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thyroid_pipeline.plan_logger import errors_among, logger_of, warnings_among
from thyroid_pipeline.plan_manifest import Runtime
from thyroid_server.errors import LibraryError
from thyroid_server.plan_check import PlanError
from thyroid_server.rtx_kernels import KeptKernels, kernels_file

_REBUILD = f"build the plan again: thyroid-export engine --runtime {Runtime.RTX.value}"
# Triton's names of the library's types; bfloat16 is left out, which numpy has not.
_TRITON_TYPES = {
    "FLOAT": "TYPE_FP32",
    "HALF": "TYPE_FP16",
    "INT8": "TYPE_INT8",
    "INT32": "TYPE_INT32",
    "INT64": "TYPE_INT64",
    "BOOL": "TYPE_BOOL",
    "UINT8": "TYPE_UINT8",
}


@dataclass(frozen=True)
class EngineTensor:
    """An input or output of an engine.

    Attributes:
        name: Its name.
        is_input: Or else an output.
        triton_type: Its type, as a config names it; the library's own name where Triton has none.
        dtype: Its type; None where numpy has none.
        shape: Its shape; -1 for an open side.
    """

    name: str
    is_input: bool
    triton_type: str
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]

    @property
    def description(self) -> str:
        """For messages."""
        kind = "input" if self.is_input else "output"
        return f"{kind} {self.name} {self.triton_type} {list(self.shape)}"


def load_library() -> Any:
    """Import TensorRT for RTX.

    Raises:
        LibraryError: It is not installed, or does not load.
    """
    try:
        import tensorrt_rtx  # noqa: PLC0415  # only where its plans are served
    except (ImportError, OSError) as error:
        raise LibraryError(
            f"{Runtime.RTX.label} cannot be loaded: {error}",
            wanted="the package tensorrt-rtx of the release that built the plan",
            mend="pip install 'thyroid-triton[server,rtx]'",
        ) from error
    return tensorrt_rtx


class RtxEngine:
    """An engine and one context, on the GPU that the calling thread has chosen.

    Attributes:
        tensors: All inputs and outputs, in the engine's order.
        batches: Smallest and largest batch that the plan takes.
        warnings: What the library had to say while it loaded the plan.
    """

    def __init__(
        self, trt: Any, file: Path, *, cuda_graphs: bool = False, kept: Path | None = None
    ) -> None:
        """Load a plan.

        Args:
            trt: Module of the library, see `load_library`.
            file: The plan.
            cuda_graphs: Whether the library shall record its work for each batch size and replay
                it from then on.
            kept: The folder of `kernels_file`; None keeps no kernels.

        Raises:
            PlanError: The file is missing, or the library does not take it.
        """
        self._logger = logger_of(trt)
        self._logger.messages.clear()
        if not file.is_file():
            raise PlanError(
                f"there is no plan {file}",
                wanted="the plan that the model's default_model_filename names",
                mend=_REBUILD,
            )
        # Kept, since the engine uses it for as long as it lives.
        self._runtime = trt.Runtime(self._logger)
        plan = file.read_bytes()
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise self._refused(f"{Runtime.RTX.label} does not load {file}")
        self._engine = engine
        config = engine.create_runtime_config()
        strategies = trt.CudaGraphStrategy
        config.cuda_graph_strategy = (
            strategies.WHOLE_GRAPH_CAPTURE if cuda_graphs else strategies.DISABLED
        )
        self._kernels = None if kept is None else KeptKernels(config, kernels_file(kept, plan))
        self._context = engine.create_execution_context(config)
        if self._context is None:
            raise self._refused(f"{Runtime.RTX.label} makes no context of {file}")
        self.tensors = tuple(
            _describe(trt, engine, engine.get_tensor_name(index))
            for index in range(engine.num_io_tensors)
        )
        self.batches = _batches(engine, self.tensors)
        self.warnings = warnings_among(self._logger.messages)

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Say where every tensor lies on the GPU, once for all runs.

        Raises:
            RuntimeError: The library refuses.
        """
        for name, address in addresses.items():
            self._want(self._context.set_tensor_address(name, address), f"the address of {name}")

    def enqueue(self, batch: int, stream: int) -> None:
        """Put a run on a batch of this size into a stream.

        Raises:
            RuntimeError: The library refuses.
        """
        self._logger.messages.clear()
        for tensor in self.tensors:
            if tensor.is_input:
                shape = (batch, *tensor.shape[1:])
                self._want(
                    self._context.set_input_shape(tensor.name, shape),
                    f"the shape {list(shape)} of {tensor.name}",
                )
        self._want(self._context.execute_async_v3(stream), f"a run on a batch of {batch}")

    def keep_kernels(self) -> None:
        """Write down the kernels compiled so far, for the next start; call it after a run."""
        if self._kernels is not None:
            self._kernels.keep()

    def close(self) -> None:
        """Let context, kernels, engine and runtime go, in this order."""
        del self._context
        del self._kernels
        del self._engine
        del self._runtime

    def _refused(self, came: str) -> PlanError:
        return PlanError(
            f"{came}: {errors_among(self._logger.messages)}",
            wanted="a whole plan of this release, for this machine's GPU, and memory for it",
            mend=_REBUILD,
        )

    def _want(self, was_taken: bool, what: str) -> None:
        if not was_taken:
            raise RuntimeError(
                f"{Runtime.RTX.label} refuses {what}: {errors_among(self._logger.messages)}; see "
                "that the plan is of the served network, or build it again"
            )


def check_config(engine: RtxEngine, config: Mapping[str, Any], file: Path) -> None:
    """See that a model's configuration and its engine agree in names, types, shapes and batches.

    Args:
        engine: Of the plan.
        config: As Triton hands it to a Python model.
        file: The plan, for messages.

    Raises:
        PlanError: They do not.
    """
    configured = {
        f"{kind} {entry['name']} {entry['data_type']} {[-1, *map(int, entry['dims'])]}"
        for kind in ("input", "output")
        for entry in config.get(kind, [])
    }
    built = {tensor.description for tensor in engine.tensors}
    if configured != built:
        raise PlanError(
            f"the plan {file} has {_listed(built - configured)}, the config instead "
            f"{_listed(configured - built)}",
            wanted="the same names, types and shapes in both, the batch first and open",
            mend="export network, plan and configs from one checkout: thyroid-export onnx, engine "
            "and repository",
        )
    most = int(config.get("max_batch_size", 0))
    smallest, largest = engine.batches
    if not smallest <= 1 <= most <= largest:
        raise PlanError(
            f"the plan {file} takes batches of {smallest} to {largest}, the config's "
            f"max_batch_size is {most}",
            wanted="a plan for batches from 1 to max_batch_size, and that above 0",
            mend=f"{_REBUILD} --min-batch 1 --max-batch {max(most, 1)}",
        )


def _describe(trt: Any, engine: Any, name: str) -> EngineTensor:
    kind = engine.get_tensor_dtype(name)
    triton_type = _TRITON_TYPES.get(kind.name)
    return EngineTensor(
        name=name,
        is_input=engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
        triton_type=triton_type or kind.name,
        dtype=np.dtype(trt.nptype(kind)) if triton_type else None,
        shape=tuple(engine.get_tensor_shape(name)),
    )


def _batches(engine: Any, tensors: tuple[EngineTensor, ...]) -> tuple[int, int]:
    """Smallest and largest batch that every input takes."""
    ranges = [
        engine.get_tensor_profile_shape(tensor.name, 0) for tensor in tensors if tensor.is_input
    ]
    return max(smallest[0] for smallest, _, _ in ranges), min(most[0] for _, _, most in ranges)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing more"
