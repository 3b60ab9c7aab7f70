"""Poisson arrivals: seeded, of the right number, with exponential gaps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from thyroid_benchmarks.schedule import NS_PER_S, Stage, poisson_schedule_ns, spike, steady, step

STAGES = st.lists(st.builds(Stage, st.floats(0.1, 20), st.floats(0.1, 100)), min_size=1, max_size=4)


@given(stages=STAGES, seed=st.integers(0, 2**32))
def test_arrivals_are_seeded_ascending_and_within_the_time(stages: list[Stage], seed: int) -> None:
    arrivals = poisson_schedule_ns(stages, seed)
    assert np.array_equal(arrivals, poisson_schedule_ns(stages, seed))
    assert np.all(np.diff(arrivals) >= 0)
    assert np.all(arrivals >= 0)
    assert np.all(arrivals <= sum(stage.duration_s for stage in stages) * NS_PER_S * (1 + 1e-9))
    # The number is Poisson: beyond 7 standard deviations it never is.
    expected = sum(stage.duration_s * stage.rate_per_s for stage in stages)
    assert abs(arrivals.size - expected) <= 7 * math.sqrt(expected) + 7


def test_another_seed_gives_other_arrivals() -> None:
    stages = steady(50, 10)
    assert not np.array_equal(
        poisson_schedule_ns(stages, 1)[:20], poisson_schedule_ns(stages, 2)[:20]
    )


def test_gaps_are_exponential() -> None:
    gaps_s = np.diff(poisson_schedule_ns(steady(20, 1000), 5)) / NS_PER_S
    assert gaps_s.mean() == pytest.approx(1 / 20, rel=0.03)
    assert stats.kstest(gaps_s, stats.expon(scale=1 / 20).cdf).pvalue > 0.01


def test_the_number_in_a_time_is_poisson() -> None:
    counts = [poisson_schedule_ns(steady(10, 2), seed).size for seed in range(600)]
    assert np.mean(counts) == pytest.approx(20, rel=0.03)
    assert np.var(counts) == pytest.approx(20, rel=0.2)


def test_each_stage_has_its_own_rate() -> None:
    arrivals_s = poisson_schedule_ns([Stage(100, 5), Stage(50, 40)], 3) / NS_PER_S
    first, second = (arrivals_s < 100).sum(), (arrivals_s >= 100).sum()
    assert first == pytest.approx(500, abs=5 * math.sqrt(500))
    assert second == pytest.approx(2000, abs=5 * math.sqrt(2000))


def test_shapes() -> None:
    assert step(2, 10, 5, 50) == tuple(Stage(10, rate) for rate in (2.0, 4.0, 6.0, 8.0, 10.0))
    assert spike(2, 9, 100) == (Stage(40, 2), Stage(10, 9), Stage(50, 2))
    with pytest.raises(ValueError, match="2 or more"):
        step(1, 2, 1, 10)


@pytest.mark.parametrize(("duration_s", "rate"), [(0, 1), (1, 0), (1, math.inf), (math.nan, 1)])
def test_stages_that_are_none_are_refused(duration_s: float, rate: float) -> None:
    with pytest.raises(ValueError, match="above 0 was wanted"):
        Stage(duration_s, rate)


def test_no_stage_is_refused() -> None:
    with pytest.raises(ValueError, match="no stage came"):
        poisson_schedule_ns([], 1)
