"""The bisection against servers of known capacity."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thyroid_benchmarks.generator import generate
from thyroid_benchmarks.knee import Knee, confirm, find_knee
from thyroid_benchmarks.scenarios import OpenLoop, Scenario
from thyroid_benchmarks.schedule import steady
from thyroid_benchmarks.summary import summarise


def search(capacity: float, start: float, **options: Any) -> Knee[float]:
    async def measure(rate: float) -> tuple[bool, float]:
        return rate <= capacity, rate

    return asyncio.run(find_knee(measure, start, **options))


@given(capacity=st.floats(0.5, 500), start=st.floats(0.5, 500))
def test_the_capacity_lies_between_the_ends(capacity: float, start: float) -> None:
    knee = search(capacity, start, resolution=0.05, max_probes=60)
    assert knee.failed_per_s is not None
    assert knee.passed_per_s <= capacity < knee.failed_per_s
    assert knee.failed_per_s <= knee.passed_per_s * 1.05
    assert knee.stopped == "the rates are within 5% of each other"
    assert knee.probes[0].rate_per_s == start
    rates = [probe.rate_per_s for probe in knee.probes]
    assert len(set(rates)) == len(rates)  # nothing is tried again until it passes


def test_a_small_factor_stays_near_a_good_start() -> None:
    knee = search(10.0, 9.0, resolution=0.1, max_probes=9, factor=1.25)
    assert [probe.rate_per_s for probe in knee.probes] == [9.0, 11.25, 10.125, 9.5625]
    assert (knee.passed_per_s, knee.failed_per_s) == (9.5625, 10.125)


def confirmed(capacity: float, found: Knee[float]) -> Knee[float]:
    async def measure(rate: float) -> tuple[bool, float]:
        return rate <= capacity, rate

    return asyncio.run(confirm(found, measure, resolution=0.1))


def test_what_passed_is_run_again() -> None:
    found: Knee[float] = Knee(10.0, 12.0, "it was sure", ())
    knee = confirmed(10.0, found)
    assert (knee.passed_per_s, knee.failed_per_s) == (10.0, 12.0)
    assert [(run.rate_per_s, run.passed) for run in knee.confirmations] == [(10.0, True)]


def test_what_passed_by_luck_is_not_the_knee() -> None:
    found: Knee[float] = Knee(10.0, 12.0, "it was sure", ())
    knee = confirmed(9.5, found)
    assert knee.passed_per_s == pytest.approx(10 / 1.1)
    assert knee.failed_per_s == 10.0
    assert [run.passed for run in knee.confirmations] == [False, True]
    nothing = confirmed(1.0, found)
    assert nothing.passed_per_s == 0
    assert len(nothing.confirmations) == 3
    # Where no rate has passed there is nothing to confirm.
    assert confirmed(1.0, Knee(0.0, 2.0, "", ())).confirmations == ()


def test_it_stops_at_the_number_of_probes() -> None:
    knee = search(10.0, 7.0, resolution=0.001, max_probes=4)
    assert [probe.rate_per_s for probe in knee.probes] == [7.0, 14.0, 10.5, 8.75]
    assert (knee.passed_per_s, knee.failed_per_s) == (8.75, 10.5)
    assert knee.stopped == "4 rates were tried"


def test_a_server_that_never_passes_has_no_knee() -> None:
    knee = search(0.0, 8.0, max_probes=3)
    assert (knee.passed_per_s, knee.failed_per_s) == (0.0, 2.0)


def test_a_server_that_never_fails_is_told() -> None:
    knee = search(1e9, 8.0, max_probes=3)
    assert (knee.passed_per_s, knee.failed_per_s) == (32.0, None)


@pytest.mark.parametrize(
    "options",
    [
        {"start": 0.0},
        {"start": 1.0, "resolution": 0.0},
        {"start": 1.0, "max_probes": 0},
        {"start": 1.0, "factor": 1.0},
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="start near the expected knee"):
        search(1.0, **options)


def test_the_knee_of_a_server_is_near_its_capacity(play: Any, fake_server: Any) -> None:
    """Two workers of 100 ms serve at most 20/s; within 1 s at the 99th percentile a little less."""

    async def whole(loop: Any) -> Knee[float]:
        async def measure(rate: float) -> tuple[bool, float]:
            scenario = Scenario("server", OpenLoop(steady(rate, 150), 1), 10, 1000)
            server = fake_server(loop.time, 0.1, workers=2)
            record = await generate(scenario, server, [0], loop.time_ns)
            p99_ms = summarise(record, scenario, np.array([True])).latency_ms[99.0].value
            return p99_ms <= 1000, p99_ms

        return await find_knee(measure, 5.0, resolution=0.02, max_probes=20)

    knee: Knee[float] = play(whole)
    assert 16 < knee.passed_per_s < 20
    by_rate = sorted((probe.rate_per_s, probe.measurement) for probe in knee.probes)
    assert by_rate[0][1] < 200
    assert by_rate[-1][1] > 1000
