"""The tools on the real server: a short load, right answers, the floor."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from thyroid_benchmarks.breakdown import INFERENCE, ROW_PARTS, TRANSPORT
from thyroid_benchmarks.estimates import PERCENTILES
from thyroid_benchmarks.measure import Subject, measure
from thyroid_benchmarks.peer_comparison import check_answers
from thyroid_benchmarks.peer_contestants import make_contestants
from thyroid_benchmarks.peer_list import TUTORIAL
from thyroid_benchmarks.pool import Shares, write_pool
from thyroid_benchmarks.preparation import floor_in_a_process, make_subject
from thyroid_benchmarks.reference_writing import write_references
from thyroid_benchmarks.scenarios import (
    ClosedLoop,
    MultiStream,
    Scenario,
    Wish,
    make_scenario,
)
from thyroid_benchmarks.target import WRONG_ANSWER
from thyroid_benchmarks.verdict import Rules
from thyroid_pipeline import contract
from thyroid_server.cores import usable_cores
from thyroid_server.embedded import EmbeddedTriton
from thyroid_training.offline import read_cropper_parameters

pytestmark = pytest.mark.server

# How busy the machine is that runs the tests says nothing about the tools.
RULES = Rules(
    min_duration_s=0.1,
    min_requests=1,
    max_generator_share=1.0,
    max_late_ms=1e6,
    max_drift=1e6,
    min_compared=1,
    max_disturbance=2.0,
)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory, model_repository: Path) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    write_pool(folder, 8, seed=11, shares=Shares(no_nodule=0.25, corrupt=0.25))
    write_references(folder, model_repository, threads=1)
    return folder


@pytest.fixture
def subject(server: EmbeddedTriton, pool: Path, model_repository: Path) -> Subject:
    made = make_subject(server.grpc_address, pool, model_repository, RULES, seed=1)
    return replace(made, metrics=server.metrics_address)


async def test_a_closed_loop_gets_right_answers_and_adds_up(subject: Subject) -> None:
    # Too short for a drift to mean something.
    scenario = Scenario("2 clients", ClosedLoop(2, 4), 0.5, bound_ms=5000, is_level=False)
    run = await measure(scenario, subject)
    assert run.verdict.valid, run.verdict.reasons
    assert run.observed.compared >= 1
    assert run.summary.failures == {}
    assert run.summary.screenings >= 1
    assert run.breakdown is not None
    assert sum(row.mean_ms for row in run.breakdown.rows if row.counts) == pytest.approx(
        run.breakdown.end_to_end_ms
    )
    names = [row.name for row in run.breakdown.rows]
    assert [model.name for model in contract.STEPS] == names[: len(contract.STEPS)]
    # Every run of a network took cores of the server's pool, and is told with its threads.
    assert run.core_use is not None
    for model in contract.NETWORKS:
        assert sum(run.core_use[model.name].runs.values()) >= run.summary.screenings
        (row,) = [row for row in run.breakdown.rows if row.name == model.name]
        assert set(row.part_ms) == set(ROW_PARTS)
        assert all(part >= 0 for part in row.part_ms.values())
    # Two clients keep no more than all cores busy, and the networks' runs are work.
    assert run.server_cpu_ms is not None
    (transunet,) = [row for row in run.breakdown.rows if row.name == contract.TRANSUNET.name]
    most_ms = 1000 * usable_cores() * 5 / run.summary.screenings  # 4 s, and the last answers
    assert transunet.part_ms[INFERENCE] / 4 < run.server_cpu_ms < most_ms


def test_the_forest_may_say_what_rounding_makes_of_the_map(subject: Subject) -> None:
    assert subject.references is not None
    ranges = [right.forest_range for right in subject.references.answers.values()]
    given = [each for each in ranges if not math.isnan(each[0])]
    assert len(given) >= 3
    assert all(0 <= least <= most <= 1 for least, most in given)
    assert any(least < most for least, most in given)


async def test_a_query_of_several_images_is_divided_by_image(subject: Subject) -> None:
    scenario = Scenario("multi-stream", MultiStream(3, 4), 0.5, is_level=False)
    run = await measure(scenario, subject)
    assert run.summary.mean_ms > run.summary.image_mean_ms
    assert run.breakdown is not None
    assert run.breakdown.end_to_end_ms == run.summary.image_mean_ms
    transport = run.breakdown.rows[-1]
    assert transport.name == TRANSPORT
    # The slowest image of a query less the mean one is no transport.
    assert transport.mean_ms < run.summary.mean_ms - run.breakdown.server_ms


async def test_an_open_loop_runs(subject: Subject) -> None:
    scenario = make_scenario("step", Wish(duration_s=4, warmup_s=0, rate_per_s=2))
    run = await measure(scenario, subject)
    assert run.verdict.valid, run.verdict.reasons
    assert set(run.summary.latency_ms) == set(PERCENTILES)


async def test_a_soak_watches_the_servers_memory(subject: Subject) -> None:
    soak = make_scenario("soak", Wish(duration_s=5, warmup_s=0, rate_per_s=4))
    run = await measure(replace(soak, is_level=False), subject)
    memory = run.observed.memory
    assert memory is not None
    # The server, its stubs, and the networks in them.
    assert memory.resident_bytes.min() > 100_000_000
    assert len(memory.time_s) >= 4
    assert "memory" in {check.name for check in run.verdict.checks}


async def test_the_tutorials_ensemble_answers_rightly(
    pool: Path, model_repository: Path, tmp_path: Path
) -> None:
    subject = make_subject("", pool, model_repository, RULES, seed=1)
    contestants, unavailable = make_contestants(
        [TUTORIAL],
        (),
        cache=tmp_path,
        model_repository=model_repository,
        parameters=read_cropper_parameters(model_repository),
        say=lambda _: None,
    )
    assert not unavailable
    with contestants[1].open() as connected:
        await check_answers(connected, subject)


async def test_wrong_answers_make_a_run_invalid(subject: Subject) -> None:
    assert subject.references is not None
    turned = {
        index: replace(right, nodule_found=not right.nodule_found)
        for index, right in subject.references.answers.items()
    }
    broken = replace(subject, references=replace(subject.references, answers=turned))
    run = await measure(Scenario("2 clients", ClosedLoop(2, 3), 0), broken)
    assert not run.verdict.valid
    assert set(run.summary.failures) == {WRONG_ANSWER}
    assert run.summary.screenings == 0


def test_the_floor_is_measured(pool: Path, model_repository: Path) -> None:
    floor = floor_in_a_process(pool, model_repository, 3, 1)
    assert floor.sequential_per_s.value > 0
    assert floor.parallel_per_s.value > 0
    parts_ms = sum(value.value for value in floor.network_ms.values())
    assert parts_ms == pytest.approx(floor.sequential_ms.value, rel=0.5)
    # What the pipeline does beside the networks takes time.
    assert floor.pipeline is not None
    assert floor.pipeline.sequential_ms.value > floor.sequential_ms.value
    assert floor.pipeline.parallel_per_s.value > 0
    json.dumps(floor.as_dict(), allow_nan=False)
