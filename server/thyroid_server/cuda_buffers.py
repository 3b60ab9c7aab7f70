"""One instance's stream and memory on a GPU, by NVIDIA's own bindings of CUDA for Python.

Host memory is pinned, so that copies run beside the processor. Each tensor has one place on the
host and one on the GPU for as long as the instance lives, since freeing waits for the whole GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thyroid_server.errors import LibraryError, ServerError

_NO_MEMORY = "cudaErrorMemoryAllocation"
_NO_GPU = ("cudaErrorInsufficientDriver", "cudaErrorNoDevice", "cudaErrorInvalidDevice")


class CudaError(ServerError):
    """CUDA refused a call, or something that it was given earlier has failed.

    Attributes:
        is_lasting: Whether CUDA refuses everything further in this process, as it does after an
            illegal address; not so where there is no GPU, or no memory.
    """

    def __init__(self, message: str, *, is_lasting: bool) -> None:
        super().__init__(message)
        self.is_lasting = is_lasting


class InputError(ValueError):
    """An array is not what the network takes."""


def load_cuda() -> Any:
    """Import the bindings of the CUDA runtime.

    Raises:
        LibraryError: They are not installed.
    """
    try:
        from cuda.bindings import runtime  # noqa: PLC0415  # only where a GPU is served
    except ImportError as error:
        raise LibraryError(
            f"the CUDA bindings cannot be loaded: {error}",
            wanted="the package cuda-bindings, by which memory and streams of a GPU are had",
            mend="pip install 'thyroid-triton[server,rtx]'",
        ) from error
    return runtime


def choose_device(cuda: Any, device: int) -> None:
    """Make a GPU the one of the calling thread.

    Args:
        cuda: Module of the CUDA runtime, see `load_cuda`.
        device: The GPU's number.

    Raises:
        CudaError: There is no such GPU, or no driver for it.
    """
    _call(cuda, device, "cudaSetDevice", device)


@dataclass(frozen=True)
class Layout:
    """What one tensor takes.

    Attributes:
        shape: With the largest batch in front.
        dtype: Of its elements.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size_bytes(self) -> int:
        """Its size."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


class CudaBuffers:
    """A stream, and for each tensor pinned memory on the host and memory on the GPU.

    Use it from one thread at a time.
    """

    def __init__(self, cuda: Any, device: int, layouts: Mapping[str, Layout]) -> None:
        """Allocate everything; if one thing cannot be had, what was is given back.

        Args:
            cuda: Module of the CUDA runtime, see `load_cuda`.
            device: The GPU's number.
            layouts: By the tensors' names.

        Raises:
            CudaError: There is no such GPU, or not enough memory.
        """
        self._cuda = cuda
        self._device = device
        self._on_gpu: dict[str, int] = {}
        self._on_host: dict[str, NDArray[Any]] = {}
        with ExitStack() as stack:
            choose_device(cuda, device)
            self.stream = int(self._call("cudaStreamCreateWithFlags", cuda.cudaStreamNonBlocking))
            stack.callback(self._call, "cudaStreamDestroy", self.stream)
            for name, layout in layouts.items():
                self._on_gpu[name] = int(self._call("cudaMalloc", layout.size_bytes))
                stack.callback(self._call, "cudaFree", self._on_gpu[name])
                pinned = int(self._call("cudaMallocHost", layout.size_bytes))
                stack.callback(self._call, "cudaFreeHost", pinned)
                self._on_host[name] = _view(pinned, layout)
            self._held = stack.pop_all()

    def address(self, name: str) -> int:
        """Where a tensor lies on the GPU."""
        return self._on_gpu[name]

    def send(self, name: str, array: NDArray[Any]) -> None:
        """Begin to copy an array to the GPU; the array itself may be changed at once.

        Raises:
            InputError: It is of another type or shape, or its batch is too large.
            CudaError: CUDA refuses.
        """
        room = self._on_host[name]
        fits = array.dtype == room.dtype and array.shape[1:] == room.shape[1:]
        if not (fits and 1 <= len(array) <= len(room)):
            raise InputError(
                f"the input {name} is {array.dtype} {list(array.shape)}; {room.dtype} "
                f"{[f'1 to {len(room)}', *room.shape[1:]]} was wanted: send it as the model's "
                "metadata says"
            )
        part = room[: len(array)]
        np.copyto(part, array, casting="no")
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(self._on_gpu[name], part.ctypes.data, part.nbytes, kind)

    def fetch(self, name: str, batch: int) -> None:
        """Begin to copy a tensor from the GPU; `synchronise` before it is read.

        Raises:
            CudaError: CUDA refuses.
        """
        part = self._on_host[name][:batch]
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(part.ctypes.data, self._on_gpu[name], part.nbytes, kind)

    def synchronise(self) -> None:
        """Wait for everything that was put into the stream.

        Raises:
            CudaError: Something of it has failed.
        """
        self._call("cudaStreamSynchronize", self.stream)

    def read(self, name: str, batch: int) -> NDArray[Any]:
        """Return a copy of what was fetched: the next run writes to the same place."""
        return self._on_host[name][:batch].copy()

    def close(self) -> None:
        """Give everything back; arrays of `read` stay. May be called again.

        Raises:
            CudaError: CUDA refuses, as it does after a failure on the GPU; all was tried.
        """
        self._on_host.clear()
        self._held.close()

    def _copy(self, to: int, from_: int, size_bytes: int, kind: Any) -> None:
        self._call("cudaMemcpyAsync", to, from_, size_bytes, kind, self.stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        return _call(self._cuda, self._device, name, *arguments)


def _call(cuda: Any, device: int, name: str, *arguments: Any) -> Any:
    """Call the CUDA runtime; what it returns beside the status, if anything."""
    status, *values = getattr(cuda, name)(*arguments)
    if status != cuda.cudaError_t.cudaSuccess:
        is_lasting = status.name not in (*_NO_GPU, _NO_MEMORY)
        raise CudaError(_words(cuda, name, status, device), is_lasting=is_lasting)
    return values[0] if values else None


class _Place:
    """Memory at an address, as numpy's array interface wants it described."""

    def __init__(self, address: int, layout: Layout) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (address, False),
            "shape": layout.shape,
            "typestr": layout.dtype.str,
        }


def _view(address: int, layout: Layout) -> NDArray[Any]:
    return np.asarray(_Place(address, layout))


def _words(cuda: Any, call: str, status: Any, device: int) -> str:
    text = bytes(cuda.cudaGetErrorString(status)[1]).decode(errors="replace")
    came = f"{call} on GPU {device} failed: {status.name} ({text})"
    if status.name in _NO_GPU:
        wanted = "an NVIDIA GPU of that number, and a driver for the CUDA that is installed here"
        mend = "see what `nvidia-smi` shows, or serve without a GPU: thyroid-serve --profile cpu"
    elif status.name == _NO_MEMORY:
        wanted = "memory for one largest batch of every tensor"
        mend = "end what else uses the GPU, see `nvidia-smi`, or lower the count of instances"
    else:
        wanted = "a run to its end"
        mend = "restart the server: after such a failure a process cannot use the GPU any more"
    return f"{came}\n  wanted: {wanted}\n  to mend it: {mend}"
