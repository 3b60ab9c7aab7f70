"""Both twins against a gRPC server on loopback: real statuses, deadlines, sizes and cancelling."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from thyroid_client import (
    AccessDenied,
    AnswerError,
    AsyncThyroidClient,
    ConnectionFailed,
    DeadlineExceeded,
    ImageRejected,
    ModelNotFound,
    RetryPolicy,
    Screening,
    ServerError,
    ServerOverloaded,
    ServerUnavailable,
    ThyroidClient,
    ThyroidClientError,
    Timeouts,
)
from thyroid_client._grpc import channel_arguments
from thyroid_pipeline import contract

QUICK = RetryPolicy(attempts=4, initial_backoff_s=0.01, max_backoff_s=0.05)
FOUR_MIB = 4 * 1024 * 1024  # gRPC's own limit for a message

Start = Callable[..., Any]
ScreenOnce = Callable[..., Screening]


def run_sync(address: str, image: Any = b"image", **options: Any) -> Screening:
    with ThyroidClient(address, **{"retry": QUICK, **options}) as client:
        return client.screen(image)


def run_async(address: str, image: Any = b"image", **options: Any) -> Screening:
    async def run() -> Screening:
        async with AsyncThyroidClient(address, **{"retry": QUICK, **options}) as client:
            return await client.screen(image)

    return asyncio.run(run())


@pytest.fixture(params=[run_sync, run_async], ids=["sync", "async"])
def screen_once(request: pytest.FixtureRequest) -> ScreenOnce:
    return request.param  # type: ignore[no-any-return]


def test_a_screening_over_the_wire(
    start_server: Start, screen_once: ScreenOnce, fake: SimpleNamespace
) -> None:
    running = start_server()
    screening = screen_once(running.address)
    assert running.servicer.images == [b"image"]
    assert screening.malignancy == 0.75
    assert screening.box is not None
    assert screening.box.as_tuple() == fake.BOX
    np.testing.assert_array_equal(screening.mask, fake.box_mask())
    assert screening.timings.attempts == 1
    newest = {model.name: "3" for model in contract.MODELS}  # the server has 1, 3 and 2
    assert screening.model_versions == {**newest, contract.ENSEMBLE.name: "1"}


def test_no_nodule_over_the_wire(
    start_server: Start, screen_once: ScreenOnce, fake: SimpleNamespace
) -> None:
    screening = screen_once(start_server(fake.answering(fake.NO_NODULE)).address)
    assert not screening.nodule_found
    assert screening.malignancy is None


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.UNAVAILABLE, "Server is stopping"),
        (grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size"),
        (grpc.StatusCode.NOT_FOUND, "'thyroid_screening' has no available versions"),
    ],
)
def test_a_server_that_fails_twice_and_then_answers(
    start_server: Start,
    screen_once: ScreenOnce,
    fake: SimpleNamespace,
    code: grpc.StatusCode,
    details: str,
) -> None:
    running = start_server(fake.failing(2, code, details))
    assert screen_once(running.address).timings.attempts == 3
    assert len(running.servicer.images) == 3


RESTRICTED = "This protocol is restricted, expecting header 'triton-grpc-protocol-key'"
NO_IMAGE = "in ensemble 'thyroid_screening', the image is no image: send one"


@pytest.mark.parametrize(
    ("failure", "error", "attempts"),
    [
        ((grpc.StatusCode.UNAVAILABLE, RESTRICTED), AccessDenied, 1),
        ((grpc.StatusCode.INVALID_ARGUMENT, NO_IMAGE), ImageRejected, 1),
        ((grpc.StatusCode.NOT_FOUND, "'thyroid_screening' is not found"), ModelNotFound, 1),
        ((grpc.StatusCode.INTERNAL, "Stub process is not healthy"), ServerError, 1),
        ((grpc.StatusCode.UNAVAILABLE, "Request timeout expired"), ServerOverloaded, 4),
        ((grpc.StatusCode.UNAVAILABLE, "Server is stopping"), ServerUnavailable, 4),
    ],
)
def test_what_is_sent_again_and_what_is_not(
    start_server: Start,
    screen_once: ScreenOnce,
    fake: SimpleNamespace,
    *,
    failure: tuple[grpc.StatusCode, str],
    error: type[ThyroidClientError],
    attempts: int,
) -> None:
    code, details = failure
    running = start_server(fake.failing(99, code, details))
    with pytest.raises(error) as caught:
        screen_once(running.address)
    assert type(caught.value) is error
    assert len(running.servicer.images) == attempts
    assert caught.value.attempts == attempts
    assert caught.value.status == code.name
    assert caught.value.details == details


def test_a_stalled_server_costs_no_more_than_the_deadline(
    start_server: Start, screen_once: ScreenOnce
) -> None:
    running = start_server(stall=True)
    with pytest.raises(DeadlineExceeded, match=r"did not answer within 0\.\d+ s") as caught:
        screen_once(running.address, timeouts=Timeouts(request_s=0.3))
    assert caught.value.attempts == 1
    assert running.servicer.cancelled.wait(30)  # the server is told to stop


def test_an_exception_in_the_server(start_server: Start, screen_once: ScreenOnce) -> None:
    def broken(image: bytes, context: grpc.ServicerContext, before: int) -> None:
        context.abort(grpc.StatusCode.UNKNOWN, "Exception calling application")

    with pytest.raises(ServerError, match="failed with UNKNOWN"):
        screen_once(start_server(broken).address)


def test_an_answer_without_contents(
    start_server: Start, screen_once: ScreenOnce, fake: SimpleNamespace
) -> None:
    """What a Python model under numpy 2 answers, without any error."""
    response = fake.response(fake.NODULE)
    for hollow in ([], [b""] * len(response.outputs)):
        del response.raw_output_contents[:]
        response.raw_output_contents.extend(hollow)
        running = start_server(lambda _image, _context, _before: response)
        with pytest.raises(AnswerError, match="`nodule_found` of the answer has 0 bytes"):
            screen_once(running.address)
        assert len(running.servicer.images) == 1


def test_messages_above_grpcs_own_limit_pass_both_ways(
    start_server: Start, screen_once: ScreenOnce, fake: SimpleNamespace
) -> None:
    rng = np.random.default_rng(0)
    side = 6000  # of noise: a PNG cannot make less than 4.5 MB of it
    bits = np.unpackbits(np.frombuffer(rng.bytes(side * side // 8), np.uint8))
    said = fake.NODULE.but(mask=bits.reshape(side, side).astype(bool), box=(0, 0, side, side))
    response = fake.response(said)
    assert response.ByteSize() > FOUR_MIB
    image = rng.bytes(2 * FOUR_MIB)
    running = start_server(lambda _image, _context, _before: response)
    screening = screen_once(running.address, image)
    assert running.servicer.images == [image]
    np.testing.assert_array_equal(screening.mask, said.mask)


def test_the_channel_keeps_tritonclients_message_limits() -> None:
    arguments = dict(channel_arguments(Timeouts()))
    assert arguments["grpc.max_send_message_length"] == 2**31 - 1
    assert arguments["grpc.max_receive_message_length"] == 2**31 - 1


@pytest.fixture
def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_nobody_there(screen_once: ScreenOnce, free_port: int) -> None:
    with pytest.raises(ConnectionFailed, match=f"cannot reach grpc://localhost:{free_port}") as no:
        screen_once(f"localhost:{free_port}")
    assert no.value.attempts == QUICK.attempts


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield int(listener.getsockname()[1])


def test_a_server_that_never_greets(screen_once: ScreenOnce, silent_port: int) -> None:
    """By gRPC's default this takes 20 s for one attempt."""
    with pytest.raises(ConnectionFailed) as caught:
        screen_once(
            f"127.0.0.1:{silent_port}",
            timeouts=Timeouts(request_s=15, connect_s=0.2),
            retry=RetryPolicy(attempts=2, initial_backoff_s=0.01, max_backoff_s=0.01),
        )
    assert caught.value.attempts == 2


def test_the_request_outlives_a_restart_of_the_server(
    start_server: Start, fake: SimpleNamespace
) -> None:
    """The server dies with the request in flight; its successor on the same port answers."""
    first = start_server(stall=True)
    patient = RetryPolicy(attempts=1000, initial_backoff_s=0.02, max_backoff_s=0.1)
    answers: list[Screening] = []
    with ThyroidClient(first.address, retry=patient) as client:
        caller = threading.Thread(target=lambda: answers.append(client.screen(b"image")))
        caller.start()
        fake.wait_for(lambda: len(first.servicer.images) == 1)
        first.server.stop(None).wait()
        second = start_server(port=first.port)
        caller.join()
    assert answers[0].timings.attempts > 1
    assert second.servicer.images == [b"image"]


def test_waiting_for_a_server_that_starts_late(start_server: Start, free_port: int) -> None:
    with ThyroidClient(f"127.0.0.1:{free_port}") as client:
        assert not client.is_ready()
        failed: list[BaseException] = []

        def wait() -> None:
            try:
                client.wait_until_ready(60)
            except BaseException as error:
                failed.append(error)

        waiter = threading.Thread(target=wait)
        waiter.start()
        running = start_server(port=free_port)
        waiter.join()
        assert failed == []
        running.servicer.ready = False
        assert not client.is_ready()
        with pytest.raises(ServerUnavailable, match="is not ready"):
            client.wait_until_ready(0.01)


async def test_readiness_and_versions_of_the_twin(start_server: Start) -> None:
    running = start_server()
    async with AsyncThyroidClient(running.address) as client:
        await client.wait_until_ready(30)
        assert await client.is_ready()
        assert await client.model_versions() == {model.name: "3" for model in contract.MODELS}
        running.servicer.ready = False
        assert not await client.is_ready()
        with pytest.raises(ServerUnavailable, match="is not ready"):
            await client.wait_until_ready(0.01)


def test_versions_count_as_numbers(start_server: Start) -> None:
    running = start_server()
    running.servicer.versions = {model.name: ["9", "10"] for model in contract.MODELS}
    with ThyroidClient(running.address) as client:
        assert set(client.model_versions().values()) == {"10"}


def test_many_images_with_bad_ones_among_them(start_server: Start, fake: SimpleNamespace) -> None:
    def picky(image: bytes, context: grpc.ServicerContext, before: int) -> Any:
        if int(image) % 3 == 0:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"in ensemble 'thyroid_screening', no {image!r}"
            )
        return fake.response(fake.NODULE)

    with ThyroidClient(start_server(picky).address) as client:
        results = {r.index: r for r in client.screen_many([str(i).encode() for i in range(30)])}
    assert sorted(results) == list(range(30))
    for index, result in results.items():
        if index % 3 == 0:
            assert str(result.error) == f"no b'{index}'"
        else:
            assert result.unwrap().nodule_found
