"""A GPU as far as one instance uses it: what it is given runs late.

Memory is the host's, at real addresses. Like a real stream, this one does nothing before somebody
waits for it, so that code which reads, or reuses memory, too early gets wrong numbers. Enumerations
are the real library's; a test compares the names of everything else with its.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cuda.bindings import runtime as real_cuda

Array = np.ndarray[Any, Any]
Work = Callable[[], Any]
SUCCESS = real_cuda.cudaError_t.cudaSuccess
STREAM = 7


class FakeCuda:
    """The functions of `cuda.bindings.runtime` that are used.

    Attributes:
        refusals: What a function returns instead of doing its work, by its name.
        memory: Everything allocated, by its address.
        pinned: Those addresses of it that are the host's.
        streams: The streams that are open.
        devices: Every GPU that was chosen, in order.
        copied_bytes: Sizes of the copies that were begun, in order.
    """

    cudaError_t = real_cuda.cudaError_t  # noqa: N815
    cudaMemcpyKind = real_cuda.cudaMemcpyKind  # noqa: N815
    cudaStreamNonBlocking = real_cuda.cudaStreamNonBlocking  # noqa: N815

    def __init__(self) -> None:
        self.refusals: dict[str, Any] = {}
        self.memory: dict[int, Array] = {}
        self.pinned: set[int] = set()
        self.streams: set[int] = set()
        self.devices: list[int] = []
        self.copied_bytes: list[int] = []
        self._queue: list[Work] = []

    def cudaGetErrorString(self, error: Any) -> tuple[Any, bytes]:  # noqa: N802
        return SUCCESS, f"the words of {error.name}".encode()

    def cudaSetDevice(self, device: int) -> tuple[Any]:  # noqa: N802
        self.devices.append(device)
        return self._status("cudaSetDevice")

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, Any]:  # noqa: N802
        assert flags == real_cuda.cudaStreamNonBlocking
        (status,) = self._status("cudaStreamCreateWithFlags")
        self.streams |= {STREAM} if status == SUCCESS else set()
        return status, STREAM

    def cudaStreamDestroy(self, stream: int) -> tuple[Any]:  # noqa: N802
        assert not self._queue, "work is under way"
        self.streams.remove(stream)
        return self._status("cudaStreamDestroy")

    def cudaMalloc(self, size: int) -> tuple[Any, Any]:  # noqa: N802
        return self._allocate("cudaMalloc", size)

    def cudaMallocHost(self, size: int) -> tuple[Any, Any]:  # noqa: N802
        status, address = self._allocate("cudaMallocHost", size)
        self.pinned |= set() if address is None else {address}
        return status, address

    def cudaFree(self, address: int) -> tuple[Any]:  # noqa: N802
        assert address not in self.pinned
        return self._free("cudaFree", address)

    def cudaFreeHost(self, address: int) -> tuple[Any]:  # noqa: N802
        self.pinned.remove(address)
        return self._free("cudaFreeHost", address)

    def cudaMemcpyAsync(  # noqa: N802
        self, to: int, from_: int, size: int, kind: Any, stream: int
    ) -> tuple[Any]:
        source, target = self.at(from_, size), self.at(to, size)
        host, gpu = (from_, to) if kind.name == "cudaMemcpyHostToDevice" else (to, from_)
        assert host in self.pinned
        assert gpu not in self.pinned
        self.copied_bytes.append(size)
        self.begin(stream, lambda: np.copyto(target, source))
        return self._status("cudaMemcpyAsync")

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any]:  # noqa: N802
        assert stream in self.streams
        queue, self._queue = self._queue, []
        for work in queue:
            if (fault := work()) is not None:
                return (fault,)
        return self._status("cudaStreamSynchronize")

    def at(self, address: int, size: int) -> Array:
        """Memory that begins at an address which was handed out."""
        room = self.memory[address]
        assert size <= room.size
        return room[:size]

    def begin(self, stream: int, work: Work) -> None:
        assert stream in self.streams
        self._queue.append(work)

    def _status(self, name: str) -> tuple[Any]:
        return (self.refusals.get(name, SUCCESS),)

    def _allocate(self, name: str, size: int) -> tuple[Any, Any]:
        (status,) = self._status(name)
        if status != SUCCESS:
            return status, None
        room = np.full(size, 0xAA, np.uint8)  # as it was left by others
        self.memory[room.ctypes.data] = room
        return SUCCESS, room.ctypes.data

    def _free(self, name: str, address: int) -> tuple[Any]:
        assert not self._queue, "work is under way"
        del self.memory[address]
        return self._status(name)
