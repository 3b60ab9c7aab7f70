"""Estimates with intervals: percentiles, rates, shares, ratios. Pure functions on numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval.

    Attributes:
        value: The number.
        low: The interval's lower end; None where the sample is too small to have one.
        high: Its upper end, likewise.
    """

    value: float
    low: float | None
    high: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Return the three numbers by name; NaN, which JSON has not, as None."""
        return {
            "value": None if math.isnan(self.value) else self.value,
            "low": self.low,
            "high": self.high,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Estimate:
        """Read what `as_dict` has written."""
        value = fields["value"]
        return cls(math.nan if value is None else value, fields["low"], fields["high"])


def percentile(
    values: npt.NDArray[np.float64], percent: float, confidence: float = CONFIDENCE
) -> Estimate:
    """Estimate a percentile of the distribution that a sample comes from.

    The value is the nearest rank's: the smallest one that at least so many percent do not exceed.
    It was measured, where an interpolation between ranks may lie outside the interval. The interval
    is the distribution-free one between two order statistics x(l) and x(u): the number of values
    below the true percentile is binomial (n, p), so that x(l) <= percentile <= x(u) holds with at
    least the confidence where l and u - 1 are the binomial's quantiles at both tails (David and
    Nagaraja, Order Statistics, 3rd ed. 2003, section 7.1). It takes the values for independent:
    latencies behind a common queue are not, so that repeated runs may vary more.

    Args:
        values: FP64 [n], any order; n may be 0.
        percent: Above 0 and below 100.
        confidence: Above 0 and below 1.

    Returns:
        The estimate, NaN without values. An end is None where no order statistic is far enough
        out: the sample is too small for it.

    Raises:
        ValueError: `percent` or `confidence` is out of its range.
    """
    for name, number, limit in (("percent", percent, 100), ("confidence", confidence, 1)):
        if not 0 < number < limit:
            raise ValueError(
                f"`{name}` is {number}; above 0 and below {limit} was wanted: give "
                f"{'50 for the median' if limit == 100 else '0.95 for 95%'}"
            )
    count = values.size
    if count == 0:
        return Estimate(math.nan, None, None)
    ordered = np.sort(values)
    tail = (1 - confidence) / 2
    binomial = stats.binom(count, percent / 100)
    lower, upper = int(binomial.ppf(tail)), int(binomial.ppf(1 - tail)) + 1
    return Estimate(
        value=float(np.percentile(ordered, percent, method="inverted_cdf")),
        low=float(ordered[lower - 1]) if lower >= 1 else None,
        high=float(ordered[upper - 1]) if upper <= count else None,
    )


def share(successes: int, count: int, confidence: float = CONFIDENCE) -> Estimate:
    """Estimate a probability; the interval is Wilson's (1927).

    Args:
        successes: From 0 to `count`.
        count: Of independent trials; with 0 nothing is known.
        confidence: Above 0 and below 1.
    """
    if count == 0:
        return Estimate(math.nan, None, None)
    interval = stats.binomtest(successes, count).proportion_ci(confidence, method="wilson")
    return Estimate(successes / count, float(interval.low), float(interval.high))


def mean(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Estimate a mean; the interval is Student's.

    For a rate the values are those of consecutive windows of one length: means of batches are
    nearly independent and nearly normal where single latencies are neither.

    Args:
        values: One or more; with one there is no interval.
        confidence: Above 0 and below 1.
    """
    if not values:
        return Estimate(math.nan, None, None)
    centre = float(np.mean(values))
    if len(values) == 1:
        return Estimate(centre, None, None)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = error * float(stats.t.ppf((1 + confidence) / 2, len(values) - 1))
    return Estimate(centre, centre - reach, centre + reach)


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """Compare two things that were measured in turns, round by round.

    Args:
        numerators: One figure for each round, above 0.
        denominators: The other's figure in the same round, above 0.

    Returns:
        The median of the rounds' ratios, with the smallest and the largest as its ends: a spread,
        no confidence interval.

    Raises:
        ValueError: There is no round, or one side has more than the other.
    """
    if not numerators or len(numerators) != len(denominators):
        raise ValueError(
            f"{len(numerators)} and {len(denominators)} rounds came; the same number of both, at "
            "least 1, was wanted: measure both in every round"
        )
    ratios = np.asarray(numerators, float) / np.asarray(denominators, float)
    return Estimate(float(np.median(ratios)), float(ratios.min()), float(ratios.max()))


def ratio(numerator: Estimate, denominator: Estimate) -> Estimate:
    """Divide two estimates above 0 that were measured apart.

    Returns:
        The ratio; its ends are the widest that the two intervals allow, so that it holds with at
        least the square of their confidence. An end is None where it would need one that is.
    """

    def divide(upper: float | None, lower: float | None) -> float | None:
        return None if upper is None or lower is None or lower <= 0 else upper / lower

    value = divide(numerator.value, denominator.value)
    return Estimate(
        math.nan if value is None else value,
        divide(numerator.low, denominator.high),
        divide(numerator.high, denominator.low),
    )
