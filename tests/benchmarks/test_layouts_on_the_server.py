"""The other ways to ask, and the fused model, on real servers: the same answers as ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from thyroid_benchmarks.layouts_repositories import (
    FINDER,
    FRAME_SCREENING,
    JUDGE,
    derive,
    derive_fused,
)
from thyroid_benchmarks.layouts_transports import (
    FrameTransport,
    FusedTransport,
    TwoCallTransport,
    shared_frames,
)
from thyroid_benchmarks.measure import sound_images
from thyroid_benchmarks.pool import Pool, Shares, read_pool, write_pool
from thyroid_benchmarks.references import References, read_references, write_references
from thyroid_benchmarks.target import OK, ScreeningTarget
from thyroid_client import AsyncTransport, Timeouts
from thyroid_client._address import parse_address
from thyroid_pipeline import contract
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


async def all_right(transport: AsyncTransport, sent: tuple[Pool, References]) -> None:
    """Every image of the pool gets its right answer, masks included."""
    pool, references = sent
    target = ScreeningTarget([transport], pool, references, keep_every=1)
    try:
        outcomes = [await target.send(index) for index in range(len(pool.cases))]
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
    with shared_frames(address, KEY, sent[0].contents) as frames:
        await all_right(FrameTransport(address, TIMEOUTS, frames), sent)
    assert not list(Path("/dev/shm").glob("thyroid-frames-*"))


async def test_the_fused_model_answers_as_the_ensemble(
    tmp_path: Path, model_repository: Path, sent: Any
) -> None:
    folder = tmp_path / "models"
    derive_fused(folder, model_repository, 1)
    settings = ServerSettings(folder, stop_timeout_s=0.0)
    with EmbeddedTriton(settings) as fused:
        address = parse_address(fused.grpc_address, None)
        await all_right(FusedTransport(address, TIMEOUTS), sent)
