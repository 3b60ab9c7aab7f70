"""Closing, cancelling and leaving early, over gRPC: the server is told not to work on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from thyroid_client import AsyncThyroidClient, ClientClosed, ThyroidClient

Start = Callable[..., Any]


def test_closing_ends_a_call_in_flight(start_server: Start, fake: SimpleNamespace) -> None:
    running = start_server(stall=True)
    client = ThyroidClient(running.address)
    caught: list[Exception] = []

    def call() -> None:
        try:
            client.screen(b"image")
        except Exception as error:
            caught.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    fake.wait_for(lambda: len(running.servicer.images) == 1)
    client.close()
    caller.join()
    assert [type(error) for error in caught] == [ClientClosed]
    assert running.servicer.cancelled.wait(30)


async def test_closing_ends_a_call_in_flight_of_the_twin(start_server: Start) -> None:
    running = start_server(stall=True)
    client = AsyncThyroidClient(running.address)
    call = asyncio.create_task(client.screen(b"image"))
    while not running.servicer.images:
        await asyncio.sleep(0.005)
    await client.close()
    with pytest.raises(ClientClosed, match="closed while the request was in flight"):
        await call
    with pytest.raises(ClientClosed, match="the client is closed"):
        await client.screen(b"image")


async def test_cancelling_the_task_reaches_the_server(start_server: Start) -> None:
    running = start_server(stall=True)
    async with AsyncThyroidClient(running.address) as client:
        call = asyncio.create_task(client.screen(b"image"))
        while not running.servicer.images:
            await asyncio.sleep(0.005)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(running.servicer.cancelled.wait, 30)


class FirstAnswered:
    """Answers the first image, leaves the others waiting until they are given up."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.given_up: list[bytes] = []

    def __call__(self, image: bytes, context: Any, before: int) -> Any:
        if image != b"0":
            gone = threading.Event()
            if context.add_callback(gone.set):
                gone.wait(30)
            self.given_up.append(image)
        return self.response


def test_leaving_many_early_reaches_the_server(start_server: Start, fake: SimpleNamespace) -> None:
    behaviour = FirstAnswered(fake.response(fake.NODULE))
    running = start_server(behaviour)
    with ThyroidClient(running.address) as client:
        results = client.screen_many((str(i).encode() for i in range(99)), max_in_flight=3)
        assert next(results).index == 0
        fake.wait_for(lambda: len(running.servicer.images) == 4)
        results.close()
        fake.wait_for(lambda: sorted(behaviour.given_up) == [b"1", b"2", b"3"])
        assert client.screen(b"0").nodule_found  # the client itself goes on


async def test_leaving_many_early_reaches_the_server_of_the_twin(
    start_server: Start, fake: SimpleNamespace
) -> None:
    behaviour = FirstAnswered(fake.response(fake.NODULE))
    running = start_server(behaviour)
    async with AsyncThyroidClient(running.address) as client:
        images = [str(i).encode() for i in range(99)]
        async with contextlib.aclosing(client.screen_many(images, max_in_flight=3)) as results:
            assert (await anext(results)).index == 0
            while len(running.servicer.images) < 4:
                await asyncio.sleep(0.005)
        while sorted(behaviour.given_up) != [b"1", b"2", b"3"]:
            await asyncio.sleep(0.005)
        assert (await client.screen(b"0")).nodule_found
