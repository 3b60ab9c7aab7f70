"""Percentiles and intervals against numpy, scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from thyroid_benchmarks.estimates import Estimate, mean, paired_ratio, percentile, ratio, share


@given(
    values=st.lists(st.floats(0.001, 1e6), min_size=1, max_size=300),
    percent=st.sampled_from([50.0, 90.0, 95.0, 99.0, 99.9]),
)
def test_percentile_is_the_nearest_rank_and_lies_in_its_interval(
    values: list[float], percent: float
) -> None:
    estimate = percentile(np.array(values), percent)
    assert estimate.value == np.percentile(values, percent, method="inverted_cdf")
    assert estimate.value in values
    assert estimate.low is None or estimate.low <= estimate.value
    assert estimate.high is None or estimate.high >= estimate.value


@given(
    count=st.integers(1, 3000),
    percent=st.sampled_from([5.0, 50.0, 90.0, 99.0, 99.9]),
    confidence=st.sampled_from([0.8, 0.95, 0.99]),
)
def test_the_interval_covers_as_often_as_it_says(
    count: int, percent: float, confidence: float
) -> None:
    """Exactly: P(x(l) <= q <= x(u)) = P(l <= B < u) for B binomial (n, p).

    The sample is 1 to n, so that a value is its own rank.
    """
    estimate = percentile(np.arange(1.0, count + 1), percent, confidence)
    tail = (1 - confidence) / 2
    binomial = stats.binom(count, percent / 100)
    if estimate.low is None:
        # Even the smallest value lies above too often.
        assert binomial.pmf(0) >= tail
    else:
        rank = int(estimate.low)
        assert binomial.cdf(rank - 1) <= tail + 1e-12
        assert binomial.cdf(rank) >= tail - 1e-12  # one further in would be too far
    if estimate.high is None:
        assert binomial.pmf(count) >= tail * (1 - 1e-9)
    else:
        rank = int(estimate.high)
        assert binomial.sf(rank - 1) <= tail + 1e-12
        assert binomial.sf(rank - 2) >= tail * (1 - 1e-9)


def test_the_interval_covers_in_draws() -> None:
    rng = np.random.default_rng(7)
    true_p90 = stats.expon.ppf(0.9)
    hits = 0
    for _ in range(400):
        estimate = percentile(rng.exponential(size=150), 90)
        assert estimate.low is not None
        assert estimate.high is not None
        hits += estimate.low <= true_p90 <= estimate.high
    assert 0.93 <= hits / 400 <= 0.99


def test_the_interval_agrees_with_scipys_quantile_test() -> None:
    values = np.random.default_rng(3).gamma(2.0, size=500)
    for percent in (50.0, 90.0, 95.0):
        wanted = stats.quantile_test(values, p=percent / 100).confidence_interval(0.95)
        estimate = percentile(values, percent)
        assert estimate.low is not None
        assert estimate.high is not None
        ranks = np.searchsorted(
            np.sort(values), [estimate.low, wanted.low, estimate.high, wanted.high]
        )
        # Each may be a rank wider, by how a tie of probabilities is settled.
        assert abs(ranks[0] - ranks[1]) <= 1
        assert abs(ranks[2] - ranks[3]) <= 1


def test_small_samples_have_open_ends() -> None:
    empty = percentile(np.array([]), 99)
    assert math.isnan(empty.value)
    assert (empty.low, empty.high) == (None, None)
    assert percentile(np.arange(100.0), 99.9).high is None
    assert percentile(np.arange(100.0), 50).high is not None
    # 0.99^n < 0.025 from n = 368: the smallest sample that bounds the 99th percentile above.
    assert percentile(np.arange(366.0), 99).high is None
    assert percentile(np.arange(368.0), 99).high == 367.0


@pytest.mark.parametrize("percent", [0.0, 100.0, -1.0, math.nan])
def test_percentiles_out_of_range_are_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="above 0 and below 100"):
        percentile(np.arange(3.0), percent)


def test_share_is_wilsons() -> None:
    # Wilson's closed form for 8 of 10 at z = 1.959964.
    z, p, n = 1.959964, 0.8, 10
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    estimate = share(8, 10)
    assert estimate.value == 0.8
    assert (estimate.low, estimate.high) == pytest.approx((centre - reach, centre + reach))
    assert math.isnan(share(0, 0).value)


def test_mean_is_students() -> None:
    values = [9.0, 10.0, 11.0, 14.0]
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    estimate = mean(values)
    assert estimate.value == 11.0
    assert (estimate.low, estimate.high) == pytest.approx((wanted.low, wanted.high))
    assert mean([5.0]) == Estimate(5.0, None, None)
    assert math.isnan(mean([]).value)


def test_paired_ratio_is_median_and_range_of_the_rounds() -> None:
    assert paired_ratio([2.0, 6.0, 4.0], [1.0, 2.0, 4.0]) == Estimate(2.0, 1.0, 3.0)
    with pytest.raises(ValueError, match="1 and 2 rounds"):
        paired_ratio([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="0 and 0 rounds"):
        paired_ratio([], [])


def test_ratio_takes_the_widest_ends() -> None:
    quotient = ratio(Estimate(10, 8, 12), Estimate(5, 4, 6))
    assert quotient == Estimate(2.0, 8 / 6, 3.0)
    assert ratio(Estimate(10, None, 12), Estimate(5, 4, None)) == Estimate(2.0, None, 3.0)
    assert math.isnan(ratio(Estimate(10, 8, 12), Estimate(0, None, None)).value)
