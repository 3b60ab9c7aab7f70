"""Who leaves `screen_many` early leaves no request, thread or task behind."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping
from types import SimpleNamespace

import pytest

from thyroid_client import (
    AsyncThyroidClient,
    CallCancelled,
    Cancellation,
    RawAnswer,
    ThyroidClient,
)


def test_cancelling_calls_what_waits_and_what_comes_late() -> None:
    cancellation = Cancellation()
    called: list[str] = []
    with cancellation.calling(lambda: called.append("gone before")):
        pass
    with cancellation.calling(lambda: called.append("waiting")):
        cancellation.cancel()
        assert called == ["waiting"]
    with cancellation.calling(lambda: called.append("late")):
        assert called == ["waiting", "late"]
    assert cancellation.event.is_set()


class Endless:
    """Images without end, and how many were read."""

    def __init__(self) -> None:
        self.read = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.read += 1
            yield b"image"


class Stalling:
    """Answers the first images and leaves the others waiting until they are cancelled."""

    def __init__(self, answer: RawAnswer, answered: int) -> None:
        self.answer = answer
        self.answered = answered
        self.begun = 0
        self.cancelled = 0
        self.lock = threading.Lock()

    def is_answered(self) -> bool:
        with self.lock:
            self.begun += 1
            return self.begun <= self.answered


class SyncStalling(Stalling):
    def infer(self, image: bytes, *, timeout_s: float, cancellation: Cancellation) -> RawAnswer:
        if self.is_answered():
            return self.answer
        cancelled = threading.Event()
        with cancellation.calling(cancelled.set):
            assert cancelled.wait(30)
        with self.lock:
            self.cancelled += 1
        raise CallCancelled("cancelled")

    def is_ready(self, *, timeout_s: float) -> bool:
        return True

    def model_versions(self, *, timeout_s: float) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        pass


class AsyncStalling(Stalling):
    async def infer(self, image: bytes, *, timeout_s: float) -> RawAnswer:
        if self.is_answered():
            return self.answer
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError("nobody cancelled")

    async def is_ready(self, *, timeout_s: float) -> bool:
        return True

    async def model_versions(self, *, timeout_s: float) -> Mapping[str, str]:
        return {}

    async def close(self) -> None:
        pass


def test_leaving_early_cancels_what_is_in_flight(fake: SimpleNamespace) -> None:
    transport = SyncStalling(fake.NODULE.answer(), answered=2)
    client = ThyroidClient(transport=transport)
    images = Endless()
    results = client.screen_many(images, max_in_flight=3)
    assert next(results).unwrap().nodule_found
    assert next(results).unwrap().nodule_found
    results.close()
    assert transport.cancelled == transport.begun - 2
    assert images.read <= 2 + 3
    assert not [thread for thread in threading.enumerate() if "thyroid" in thread.name]


async def test_leaving_early_cancels_what_is_in_flight_of_the_twin(fake: SimpleNamespace) -> None:
    transport = AsyncStalling(fake.NODULE.answer(), answered=2)
    client = AsyncThyroidClient(transport=transport)
    async with contextlib.aclosing(client.screen_many(Endless(), max_in_flight=3)) as results:
        assert (await anext(results)).unwrap().nodule_found
        assert (await anext(results)).unwrap().nodule_found
        while transport.begun < 5:
            await asyncio.sleep(0)
    assert transport.cancelled == transport.begun - 2 == 3
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelling_the_task_cancels_what_is_in_flight(fake: SimpleNamespace) -> None:
    transport = AsyncStalling(fake.NODULE.answer(), answered=0)
    client = AsyncThyroidClient(transport=transport)

    async def consume() -> None:
        async for _ in client.screen_many(Endless(), max_in_flight=4):
            raise AssertionError("nothing was answered")

    task = asyncio.create_task(consume())
    while transport.begun < 4:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert transport.cancelled == 4
