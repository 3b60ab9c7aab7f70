"""TensorRT for RTX as far as one instance uses it, on the GPU of `fake_cuda`.

Enumerations are the real library's; a test compares the names of everything else with its.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorrt_rtx
from cuda.bindings import runtime as real_cuda

from fake_cuda import FakeCuda
from thyroid_server.request_batches import Job

# What stands in a plan of `FakeEngine`.
PLAN = b"a plan"
# What the kernel does not survive.
POISON = 255
# What kept kernels begin with where this library and GPU compiled them.
KERNELS = b"kernels of this GPU: "

# Of a model of `FakeEngine`, as Triton hands it to a Python model.
CONFIG: dict[str, Any] = {
    "max_batch_size": 4,
    "input": [{"name": "pixels", "data_type": "TYPE_UINT8", "dims": ["1", "2", "2"]}],
    "output": [
        {"name": "total", "data_type": "TYPE_FP32", "dims": ["1"]},
        {"name": "bright", "data_type": "TYPE_BOOL", "dims": ["1"]},
    ],
    "parameters": {"cuda_graphs": {"string_value": "0"}},
}


def job(*pictures: int, outputs: frozenset[str] = frozenset()) -> Job:
    """A request of pictures of one grey value each; without outputs it wants all."""
    return Job({"pixels": np.array(pictures, np.uint8).repeat(4).reshape(-1, 1, 2, 2)}, outputs)


def write_plan(folder: Path) -> Path:
    """A plan that `FakeLibrary` loads."""
    file = folder / "model.rtx.plan"
    file.write_bytes(PLAN)
    return file


Dims = tuple[int, ...]
INPUT, OUTPUT = tensorrt_rtx.TensorIOMode.INPUT, tensorrt_rtx.TensorIOMode.OUTPUT
TYPES = tensorrt_rtx.DataType


class FakeEngine:
    """`ICudaEngine`: `total` is the sum of `pixels`, `bright` whether it is above 9."""

    def __init__(self, library: FakeLibrary) -> None:
        self.library = library
        self.largest = 4
        self.tensors: dict[str, tuple[Any, Any, Dims]] = {
            "pixels": (INPUT, TYPES.UINT8, (-1, 1, 2, 2)),
            "total": (OUTPUT, TYPES.FLOAT, (-1, 1)),
            "bright": (OUTPUT, TYPES.BOOL, (-1, 1)),
        }

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return self.tensors[name][0]

    def get_tensor_dtype(self, name: str) -> Any:
        return self.tensors[name][1]

    def get_tensor_shape(self, name: str) -> Dims:
        return self.tensors[name][2]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        assert profile_index == 0
        sides = self.tensors[name][2][1:]
        return [(1, *sides), (2, *sides), (self.largest, *sides)]

    def create_runtime_config(self) -> Any:
        self.library.config = FakeRuntimeConfig()
        return self.library.config

    def create_execution_context(self, runtime_config: Any) -> Any:
        assert runtime_config is self.library.config
        return FakeContext(self.library, self) if self.library.makes_contexts else None


class FakeRuntimeCache:
    """`IRuntimeCache`: a kernel is compiled for each batch size."""

    def __init__(self) -> None:
        self.kernels: set[int] = set()

    def serialize(self) -> memoryview:
        return memoryview(KERNELS + bytes(sorted(self.kernels)))

    def deserialize(self, blob: bytes) -> bool:
        if not blob.startswith(KERNELS):
            return False
        self.kernels = set(blob.removeprefix(KERNELS))
        return True


class FakeRuntimeConfig:
    """`IRuntimeConfig`."""

    cuda_graph_strategy: Any = None

    def __init__(self) -> None:
        self._cache = FakeRuntimeCache()  # which nobody sees

    def create_runtime_cache(self) -> FakeRuntimeCache:
        return FakeRuntimeCache()

    def set_runtime_cache(self, cache: FakeRuntimeCache) -> bool:
        self._cache = cache
        return True

    def get_runtime_cache(self) -> FakeRuntimeCache:
        return self._cache


class FakeContext:
    """`IExecutionContext`."""

    def __init__(self, library: FakeLibrary, engine: FakeEngine) -> None:
        self.library = library
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self.shape: Dims = ()

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return name in self.engine.tensors

    def set_input_shape(self, name: str, shape: Dims) -> bool:
        self.shape = shape
        return shape[0] <= self.engine.largest

    def execute_async_v3(self, stream_handle: int) -> bool:
        if self.library.refuses_runs:
            self.library.logger.log(tensorrt_rtx.ILogger.ERROR, "no run today")
            return False
        cuda, batch = self.library.cuda, self.shape[0]
        self.library.batches.append(batch)
        pixels = cuda.at(self.addresses["pixels"], 4 * batch).reshape(batch, 4)
        total = cuda.at(self.addresses["total"], 4 * batch).view(np.float32)
        bright = cuda.at(self.addresses["bright"], batch).view(np.bool_)

        def kernel() -> Any:
            if (pixels == POISON).any():
                return self.library.poison_error
            kernels = self.library.config.get_runtime_cache().kernels
            if batch not in kernels:
                self.library.compiled.append(batch)
                kernels.add(batch)
            total[:] = pixels.sum(1)
            bright[:] = pixels.sum(1) > 9
            return None

        cuda.begin(stream_handle, kernel)
        return True


class FakeRuntime:
    """`Runtime`."""

    def __init__(self, library: FakeLibrary) -> None:
        self.library = library

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        if serialized_engine != PLAN:
            self.library.logger.log(tensorrt_rtx.ILogger.ERROR, "magicTag is wrong")
            return None
        self.library.logger.log(tensorrt_rtx.ILogger.WARNING, "compiled for many GPUs")
        return self.library.engine


class FakeLibrary:
    """The module `tensorrt_rtx`, on a GPU of its own.

    Attributes:
        cuda: That GPU.
        engine: What its plan holds.
        config: The last runtime configuration.
        batches: The size of every run, in order.
        compiled: The batch sizes for which a kernel was compiled, in order.
        poison_error: What the kernel ends with that does not survive.
        makes_contexts: Whether there is room for a context.
        refuses_runs: Whether a run is refused at once.
    """

    ILogger = tensorrt_rtx.ILogger
    TensorIOMode = tensorrt_rtx.TensorIOMode
    CudaGraphStrategy = tensorrt_rtx.CudaGraphStrategy
    nptype = staticmethod(tensorrt_rtx.nptype)

    def __init__(self) -> None:
        self.cuda = FakeCuda()
        self.engine = FakeEngine(self)
        self.config: Any = None
        self.batches: list[int] = []
        self.compiled: list[int] = []
        self.poison_error = real_cuda.cudaError_t.cudaErrorLaunchFailure
        self.makes_contexts = True
        self.refuses_runs = False
        self.logger: Any = None

    def Runtime(self, logger: Any) -> FakeRuntime:  # noqa: N802
        self.logger = logger
        return FakeRuntime(self)
