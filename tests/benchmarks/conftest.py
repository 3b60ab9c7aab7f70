"""A server of known capacity, whose clock jumps: minutes of load in no time, always the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from thyroid_benchmarks.target import OK

ResultT = TypeVar("ResultT")


class _JumpingSelector(selectors.SelectSelector):
    """Waits for nothing: puts the clock forward by what it should have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "every task waits for something that never comes"
        self.now_s += max(timeout, 0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumping = _JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now_s

    def time_ns(self) -> int:
        return round(self.time() * 1e9)


class FakeServer:
    """Serves in the order of arrival on some workers, each image in a known time.

    No image is begun between `stall_s[0]` and `stall_s[1]`, counted from the server's making.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        service_s: float,
        workers: int = 1,
        stall_s: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.clock = clock
        self.service_s = service_s
        self.free_s = [0.0] * workers
        self.stall_s = tuple(clock() + moment for moment in stall_s)
        self.in_flight = 0
        self.most_in_flight = 0
        self.images: list[int] = []
        self.outcome: Callable[[int], str] = lambda _: OK

    async def send(self, index: int) -> str:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.images.append(index)
        worker = min(range(len(self.free_s)), key=self.free_s.__getitem__)
        begin_s = max(self.clock(), self.free_s[worker])
        if self.stall_s[0] <= begin_s < self.stall_s[1]:
            begin_s = self.stall_s[1]
        self.free_s[worker] = begin_s + self.service_s
        await asyncio.sleep(self.free_s[worker] - self.clock())
        self.in_flight -= 1
        return self.outcome(index)


Play = Callable[[Callable[[VirtualLoop], Coroutine[Any, Any, ResultT]]], ResultT]


@pytest.fixture
def play() -> Play[Any]:
    """Runs a coroutine, made for the loop it is given, on a virtual clock."""

    def run(make: Callable[[VirtualLoop], Coroutine[Any, Any, ResultT]]) -> ResultT:
        loop = VirtualLoop()
        try:
            return loop.run_until_complete(make(loop))
        finally:
            loop.close()

    return run


@pytest.fixture
def fake_server() -> type[FakeServer]:
    """The server above, to be made with the time of the loop that `play` gives."""
    return FakeServer
