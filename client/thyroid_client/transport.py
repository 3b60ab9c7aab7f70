"""The seam between the client and the wire.

The client asks a transport; `GrpcTransport` and `AsyncGrpcTransport` are the real ones, a test or a
recorder may pass its own. A transport sends one request once: retries, deadlines and the reading of
answers are the client's. It raises nothing but `ThyroidClientError`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class RawTensor:
    """One output as it came over the wire, unchecked.

    Attributes:
        name: Its name.
        data_type: Its Triton type, such as "FP32".
        shape: Its shape, batch axis included.
        content: Its raw bytes.
    """

    name: str
    data_type: str
    shape: tuple[int, ...]
    content: bytes


@dataclass(frozen=True)
class RawAnswer:
    """One answer as it came over the wire, unchecked.

    Attributes:
        model_name: Which model the server says has answered.
        model_version: Its version.
        tensors: Its outputs, in the server's order.
    """

    model_name: str
    model_version: str
    tensors: tuple[RawTensor, ...]


class Cancellation:
    """A flag by which one thread ends what others do for it."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: dict[object, Callable[[], object]] = {}

    def cancel(self) -> None:
        """Set the flag and call what waits for it. Once is enough, more does no harm."""
        with self._lock:
            self.event.set()
            callbacks = list(self._callbacks.values())
        for callback in callbacks:
            callback()

    @contextlib.contextmanager
    def calling(self, callback: Callable[[], object]) -> Iterator[None]:
        """Have `callback` called on cancellation while the block runs; at once if it has been."""
        key = object()
        with self._lock:
            self._callbacks[key] = callback
            late = self.event.is_set()
        if late:
            callback()
        try:
            yield
        finally:
            with self._lock:
                del self._callbacks[key]


class Transport(Protocol):
    """What `ThyroidClient` needs of a transport. Its methods are called from several threads."""

    def infer(self, image: bytes, *, timeout_s: float, cancellation: Cancellation) -> RawAnswer:
        """Send one image and return the answer, or raise `CallCancelled` soon on cancellation."""

    def is_ready(self, *, timeout_s: float) -> bool:
        """Ask whether the server says that it serves the screening."""

    def model_versions(self, *, timeout_s: float) -> Mapping[str, str]:
        """Ask for the version that serves each model of the contract."""

    def close(self) -> None:
        """Let go of the connection; calls in flight are cancelled."""


class AsyncTransport(Protocol):
    """What `AsyncThyroidClient` needs of a transport. Cancelling the task cancels the call."""

    async def infer(self, image: bytes, *, timeout_s: float) -> RawAnswer:
        """Send one image and return the answer."""

    async def is_ready(self, *, timeout_s: float) -> bool:
        """Ask whether the server says that it serves the screening."""

    async def model_versions(self, *, timeout_s: float) -> Mapping[str, str]:
        """Ask for the version that serves each model of the contract."""

    async def close(self) -> None:
        """Let go of the connection; calls in flight are cancelled."""
