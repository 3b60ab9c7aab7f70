"""When an open loop sends: Poisson arrivals at a rate that may change, and the shapes of load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class Stage:
    """A stretch of time with one rate.

    Attributes:
        duration_s: How long it lasts, above 0.
        rate_per_s: How many requests arrive in a second on average, above 0.
    """

    duration_s: float
    rate_per_s: float

    def __post_init__(self) -> None:
        for name in ("duration_s", "rate_per_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(
                    f"`{name}` of a stage is {value}; a number above 0 was wanted: leave out a "
                    "stage in which nothing is sent"
                )


def poisson_schedule_ns(stages: Sequence[Stage], seed: int) -> npt.NDArray[np.int64]:
    """Draw the arrivals of a Poisson process whose rate is constant within each stage.

    Arrivals of unit rate, whose gaps are exponential of mean 1, are carried over by the inverse of
    the expected number of arrivals up to a time (time rescaling; Kingman, Poisson Processes,
    1993, section 2.3, the mapping theorem).

    Args:
        stages: In order, at least one.
        seed: Fixes every arrival.

    Returns:
        INT64 [n], ascending: nanoseconds from the beginning of the first stage.

    Raises:
        ValueError: There is no stage.
    """
    if not stages:
        raise ValueError("no stage came; at least one was wanted: give a duration and a rate")
    ends_s = np.cumsum([0.0, *(stage.duration_s for stage in stages)])
    expected = np.cumsum([0.0, *(stage.duration_s * stage.rate_per_s for stage in stages)])
    rng = np.random.default_rng(seed)
    arrivals = np.zeros(1)
    while arrivals[-1] <= expected[-1]:
        size = math.ceil(expected[-1] - arrivals[-1] + 4 * math.sqrt(expected[-1])) + 1
        arrivals = np.append(arrivals, arrivals[-1] + np.cumsum(rng.exponential(size=size)))
    within = arrivals[1:][arrivals[1:] < expected[-1]]
    moments_ns: npt.NDArray[np.int64] = np.rint(
        np.interp(within, expected, ends_s) * NS_PER_S
    ).astype(np.int64)
    return moments_ns


def steady(rate_per_s: float, duration_s: float) -> tuple[Stage, ...]:
    """One rate throughout."""
    return (Stage(duration_s, rate_per_s),)


def step(low_per_s: float, high_per_s: float, steps: int, duration_s: float) -> tuple[Stage, ...]:
    """Stairs from the low rate to the high one, all of one length.

    Raises:
        ValueError: There are fewer than 2 steps.
    """
    if steps < 2:
        raise ValueError(f"`steps` is {steps}; 2 or more were wanted: for one rate take `steady`")
    rates = np.linspace(low_per_s, high_per_s, steps)
    return tuple(Stage(duration_s / steps, float(rate)) for rate in rates)


def spike(base_per_s: float, peak_per_s: float, duration_s: float) -> tuple[Stage, ...]:
    """The base rate, the peak for a tenth of the time, and the base rate again."""
    return (
        Stage(0.4 * duration_s, base_per_s),
        Stage(0.1 * duration_s, peak_per_s),
        Stage(0.5 * duration_s, base_per_s),
    )
