"""`screen_many` of both twins: every image exactly once, bounded, lazy, and clean when left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thyroid_client import (
    AsyncThyroidClient,
    Cancellation,
    ImageRejected,
    ImageUnreadable,
    Limits,
    RawAnswer,
    RetryPolicy,
    ScreenResult,
    ServerUnavailable,
    ThyroidClient,
)

QUICK = RetryPolicy(attempts=3, initial_backoff_s=1e-5, max_backoff_s=1e-4)

# What becomes of one image: how often the server is unavailable first, then whether it is rejected.
PLANS = st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=30)


class Planned:
    """Fails by plan; images are the decimal digits of their index."""

    def __init__(self, plan: list[tuple[int, bool]], answer: RawAnswer) -> None:
        self.plan = plan
        self.answer = answer
        self.sent = [0] * len(plan)
        self.in_flight = 0
        self.most_in_flight = 0
        self.lock = threading.Lock()

    def begin(self, image: bytes) -> None:
        with self.lock:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def end(self, image: bytes) -> RawAnswer:
        index = int(image)
        with self.lock:
            self.in_flight -= 1
            self.sent[index] += 1
            unavailable, rejected = self.plan[index]
            if self.sent[index] <= unavailable:
                raise ServerUnavailable(f"{index} again")
        if rejected:
            raise ImageRejected(f"{index} is bad")
        return self.answer


class SyncPlanned(Planned):
    def infer(self, image: bytes, *, timeout_s: float, cancellation: Cancellation) -> RawAnswer:
        self.begin(image)
        return self.end(image)

    def is_ready(self, *, timeout_s: float) -> bool:
        return True

    def model_versions(self, *, timeout_s: float) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        pass


class AsyncPlanned(Planned):
    async def infer(self, image: bytes, *, timeout_s: float) -> RawAnswer:
        self.begin(image)
        await asyncio.sleep(0)
        return self.end(image)

    async def is_ready(self, *, timeout_s: float) -> bool:
        return True

    async def model_versions(self, *, timeout_s: float) -> Mapping[str, str]:
        return {}

    async def close(self) -> None:
        pass


class Counted:
    """An iterable that knows how far it has been read."""

    def __init__(self, count: int) -> None:
        self.numbers = range(count)
        self.read = 0

    def __iter__(self) -> Iterator[bytes]:
        for number in self.numbers:
            self.read += 1
            yield str(number).encode()


def check_results(results: list[ScreenResult], plan: list[tuple[int, bool]]) -> None:
    assert sorted(result.index for result in results) == list(range(len(plan)))
    for result in results:
        unavailable, rejected = plan[result.index]
        assert result.source == str(result.index).encode()
        assert (result.screening is None) != (result.error is None)
        if unavailable >= QUICK.attempts:
            assert isinstance(result.error, ServerUnavailable)
            assert result.error.attempts == QUICK.attempts
        elif rejected:
            assert isinstance(result.error, ImageRejected)
            with pytest.raises(ImageRejected, match=f"^{result.index} is bad$"):
                result.unwrap()
        else:
            assert result.unwrap().timings.attempts == unavailable + 1


@settings(max_examples=40)
@given(plan=PLANS, in_flight=st.integers(1, 6))
def test_each_image_comes_out_once(
    fake: SimpleNamespace, plan: list[tuple[int, bool]], in_flight: int
) -> None:
    transport = SyncPlanned(plan, fake.NODULE.answer())
    client = ThyroidClient(transport=transport, retry=QUICK)
    images = Counted(len(plan))
    results = []
    for result in client.screen_many(images, max_in_flight=in_flight):
        results.append(result)
        assert images.read <= len(results) + in_flight
    check_results(results, plan)
    assert transport.most_in_flight <= in_flight


@settings(max_examples=40)
@given(plan=PLANS, in_flight=st.integers(1, 6), asynchronous=st.booleans())
def test_each_image_comes_out_once_of_the_twin(
    fake: SimpleNamespace, plan: list[tuple[int, bool]], in_flight: int, asynchronous: bool
) -> None:
    async def run() -> None:
        transport = AsyncPlanned(plan, fake.NODULE.answer())
        images = Counted(len(plan))

        async def trickle() -> AsyncIterator[bytes]:
            for image in images:
                await asyncio.sleep(0)
                yield image

        results = []
        async with AsyncThyroidClient(transport=transport, retry=QUICK) as client:
            given_images: Any = trickle() if asynchronous else images
            async for result in client.screen_many(given_images, max_in_flight=in_flight):
                results.append(result)
                assert images.read <= len(results) + in_flight
        check_results(results, plan)
        assert transport.most_in_flight <= in_flight

    asyncio.run(run())


def test_the_clients_limit_holds_unless_told_otherwise(fake: SimpleNamespace) -> None:
    client = ThyroidClient(
        transport=SyncPlanned([(0, False)] * 9, fake.NODULE.answer()),
        limits=Limits(max_in_flight=2),
    )
    images = Counted(9)
    results = client.screen_many(images)
    assert images.read == 0  # nothing is begun before the first result is asked for
    next(results)
    assert images.read == 3
    results.close()


async def test_results_do_not_wait_for_a_slow_source(fake: SimpleNamespace) -> None:
    more = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"0"
        await more.wait()  # only set once the first result is there
        yield b"1"

    client = AsyncThyroidClient(transport=AsyncPlanned([(0, False)] * 2, fake.NODULE.answer()))
    seen = []
    async for result in client.screen_many(slow()):
        seen.append(result.index)
        more.set()
    assert seen == [0, 1]


class BrokenSourceError(Exception):
    pass


def broken() -> Iterator[bytes]:
    yield b"0"
    raise BrokenSourceError


def test_an_error_of_the_source_is_the_callers(fake: SimpleNamespace) -> None:
    client = ThyroidClient(transport=SyncPlanned([(0, False)], fake.NODULE.answer()))
    with pytest.raises(BrokenSourceError):
        list(client.screen_many(broken()))


async def test_an_error_of_the_source_is_the_callers_of_the_twin(fake: SimpleNamespace) -> None:
    client = AsyncThyroidClient(transport=AsyncPlanned([(0, False)], fake.NODULE.answer()))
    with pytest.raises(BrokenSourceError):
        async for _ in client.screen_many(broken()):
            pass


def test_what_is_no_image_fails_alone(fake: SimpleNamespace) -> None:
    client = ThyroidClient(transport=SyncPlanned([(0, False)] * 3, fake.NODULE.answer()))
    images: list[Any] = [b"0", None, "/nowhere.png", np.zeros((9, 9)), b"1"]
    results = {result.index: result for result in client.screen_many(images)}
    assert [type(results[index].error) for index in range(5)] == [
        type(None),
        ImageUnreadable,
        ImageUnreadable,
        ImageUnreadable,
        type(None),
    ]


@pytest.mark.parametrize("one", ["neck.png", b"bytes", np.zeros((64, 64), np.uint8)])
@pytest.mark.parametrize("client_type", [ThyroidClient, AsyncThyroidClient])
def test_one_image_in_place_of_many_is_told_apart(client_type: type, one: object) -> None:
    client = client_type(transport=object())
    with pytest.raises(TypeError, match="call `screen` for one image, or give a list"):
        client.screen_many(one)
    with pytest.raises(ValueError, match=r"`max_in_flight` \(=0\)"):
        client.screen_many([one], max_in_flight=0)
