"""The other ways to ask, and the fused model, on real servers: the same answers as ours."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thyroid_benchmarks.layouts_int8 import derive_int8
from thyroid_benchmarks.layouts_repositories import (
    FINDER,
    FRAME_SCREENING,
    JUDGE,
    derive,
    derive_fused,
)
from thyroid_benchmarks.layouts_transports import (
    SLOTS,
    FrameTransport,
    FusedTransport,
    SharedFrames,
    TwoCallTransport,
    shared_frames,
)
from thyroid_benchmarks.pool import Pool, Shares, read_pool, sound_images, write_pool
from thyroid_benchmarks.reference_writing import write_references
from thyroid_benchmarks.references import References, read_references
from thyroid_benchmarks.target import OK, ScreeningTarget
from thyroid_client import AsyncTransport, Timeouts
from thyroid_client._address import parse_address
from thyroid_client._grpc_aio import AsyncGrpcTransport
from thyroid_pipeline import contract
from thyroid_pipeline.plan_manifest import network_path
from thyroid_pipeline.steps import decode_batch
from thyroid_server.embedded import EmbeddedTriton, ServerSettings

pytestmark = pytest.mark.server
KEY = "a-key-of-the-test"
TIMEOUTS = Timeouts(request_s=60)
JUDGES = (contract.RESNET18, contract.MORPHOLOGY_FOREST)


@pytest.fixture(scope="module")
def sent(
    tmp_path_factory: pytest.TempPathFactory, model_repository: Path
) -> tuple[Pool, References]:
    folder = tmp_path_factory.mktemp("pool")
    write_pool(folder, 5, seed=13, shares=Shares(no_nodule=0.2, corrupt=0.2))
    write_references(folder, model_repository, threads=1)
    references = read_references(folder)
    assert references is not None
    return read_pool(folder), references


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, model_repository: Path
) -> Iterator[EmbeddedTriton]:
    """One server that can be asked in every way."""
    folder = tmp_path_factory.mktemp("layouts") / "models"
    more = [
        (FINDER, [step for step in contract.STEPS if step not in JUDGES]),
        (JUDGE, JUDGES),
        (FRAME_SCREENING, [step for step in contract.STEPS if step is not contract.FRAME_DECODER]),
    ]
    derive(folder, model_repository, more=more)
    with EmbeddedTriton(ServerSettings(folder, admin_key=KEY, stop_timeout_s=0.0)) as running:
        yield running


async def all_right(
    transport: AsyncTransport, sent: tuple[Pool, References], *, at_once: bool = False
) -> None:
    """Every image of the pool gets its right answer, masks included."""
    pool, references = sent
    target = ScreeningTarget([transport], pool, references, keep_every=1)
    indices = range(len(pool.cases))
    try:
        if at_once:
            outcomes = await asyncio.gather(*map(target.send, indices))
        else:
            outcomes = [await target.send(index) for index in indices]
    finally:
        await target.close()
    assert outcomes == [OK] * len(pool.cases)
    assert target.compare_kept() == (int(sound_images(pool).sum()), [])
    assert 0 < sound_images(pool).sum() < len(pool.cases)


async def test_two_calls_answer_as_one(server: EmbeddedTriton, sent: Any) -> None:
    address = parse_address(server.grpc_address, None)
    await all_right(TwoCallTransport(address, TIMEOUTS), sent)


async def test_frames_in_shared_memory_answer_as_images(server: EmbeddedTriton, sent: Any) -> None:
    address = parse_address(server.grpc_address, None)
    with shared_frames(address, KEY) as frames:
        await all_right(FrameTransport(address, TIMEOUTS, frames), sent)
    assert not list(Path("/dev/shm").glob("thyroid-frames-*"))


async def test_the_clients_decoding_is_within_the_time(
    server: EmbeddedTriton, sent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def slow(inputs: Any) -> Any:
        time.sleep(0.5)
        decoded.append(threading.current_thread().name)
        return decode_batch(inputs)

    monkeypatch.setattr("thyroid_benchmarks.layouts_transports.decode_batch", slow)
    address = parse_address(server.grpc_address, None)
    image = sent[0].contents[int(np.flatnonzero(sound_images(sent[0]))[0])]
    with shared_frames(address, KEY) as frames:
        transport = FrameTransport(address, TIMEOUTS, frames)
        begun_s = time.perf_counter()
        await asyncio.gather(*(transport.infer(image, timeout_s=60) for _ in range(2)))
        took_s = time.perf_counter() - begun_s
        await transport.close()
    # Each time anew, and not in the thread that sends.
    assert len(decoded) == 2
    assert threading.main_thread().name not in decoded
    assert took_s >= 0.5


def test_no_two_requests_share_a_place() -> None:
    frames = SharedFrames("name", None)
    with contextlib.ExitStack() as stack:
        places = {stack.enter_context(frames.slot()).offset for _ in range(SLOTS)}
        assert len(places) == SLOTS
        with pytest.raises(RuntimeError, match="use fewer clients"):
            stack.enter_context(frames.slot())
    with frames.slot():
        pass


async def test_the_fused_model_answers_as_the_ensemble(
    tmp_path: Path, model_repository: Path, sent: Any
) -> None:
    folder = tmp_path / "models"
    derive_fused(folder, model_repository, 1, together=4)
    settings = ServerSettings(folder, stop_timeout_s=0.0)
    with EmbeddedTriton(settings) as fused:
        address = parse_address(fused.grpc_address, None)
        await all_right(FusedTransport(address, TIMEOUTS), sent)
        # All at once: what waits goes together, and one that is refused loses no other.
        await all_right(FusedTransport(address, TIMEOUTS), sent, at_once=True)


async def test_resnet18_in_int8_answers_as_in_fp32(
    tmp_path: Path, model_repository: Path, sent: Any
) -> None:
    folder = tmp_path / "models"
    derive_int8(folder, model_repository)
    files = [network_path(each, contract.RESNET18.name) for each in (folder, model_repository)]
    assert files[0].stat().st_size < 0.6 * files[1].stat().st_size
    settings = ServerSettings(folder, stop_timeout_s=0.0)
    with EmbeddedTriton(settings) as quantised:
        address = parse_address(quantised.grpc_address, None)
        await all_right(AsyncGrpcTransport(address, TIMEOUTS), sent)
