"""The knee: the highest rate that a server sustains within a latency bound, by bisection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

MeasurementT = TypeVar("MeasurementT")


@dataclass(frozen=True)
class Probe(Generic[MeasurementT]):
    """One rate that was tried.

    Attributes:
        rate_per_s: Offered.
        passed: Whether it was sustained within the bound.
        measurement: Whatever the measurement returned.
    """

    rate_per_s: float
    passed: bool
    measurement: MeasurementT


@dataclass(frozen=True)
class Knee(Generic[MeasurementT]):
    """Where the knee lies.

    Attributes:
        passed_per_s: The highest rate that passed, in a confirming run where there were any; 0
            where none did.
        failed_per_s: The lowest rate above it that failed; None where none did.
        stopped: Why the search ended.
        probes: Every rate tried, in order.
        confirmations: The longer runs after the search, in order; see `confirm`.
    """

    passed_per_s: float
    failed_per_s: float | None
    stopped: str
    probes: tuple[Probe[MeasurementT], ...]
    confirmations: tuple[Probe[MeasurementT], ...] = ()


async def find_knee(
    measure: Callable[[float], Awaitable[tuple[bool, MeasurementT]]],
    start_per_s: float,
    *,
    resolution: float = 0.05,
    max_probes: int = 12,
    factor: float = 2.0,
) -> Knee[MeasurementT]:
    """Search for the knee.

    First the rate is multiplied while it passes, or divided while it fails, until the knee lies
    between two rates tried; then the middle of these is tried again and again. The search stops
    when the rate that failed is at most `1 + resolution` times the one that passed, or after
    `max_probes`. Each rate is tried once: a run that failed is not repeated until it passes.

    Args:
        measure: Runs an open loop at a rate; returns whether it passed, and what it measured.
        start_per_s: The first rate tried, above 0: near the expected knee is quickest.
        resolution: How near is near enough, as a share.
        max_probes: How many rates at most, from 1.
        factor: By which the rate is multiplied or divided at first, above 1.

    Returns:
        The knee and all probes.

    Raises:
        ValueError: An argument is out of its range.
    """
    if start_per_s <= 0 or resolution <= 0 or max_probes < 1 or factor <= 1:
        raise ValueError(
            f"`start_per_s` is {start_per_s}, `resolution` {resolution}, `max_probes` {max_probes},"
            f" `factor` {factor}; above 0, above 0, at least 1 and above 1 were wanted: start near "
            "the expected knee"
        )
    probes: list[Probe[MeasurementT]] = []
    passed, failed = 0.0, None
    rate = start_per_s
    while len(probes) < max_probes:
        is_within, measurement = await measure(rate)
        probes.append(Probe(rate, is_within, measurement))
        if is_within:
            passed = rate
        else:
            failed = rate
        if failed is None:
            rate = factor * passed
        elif passed == 0:
            rate = failed / factor
        elif failed <= passed * (1 + resolution):
            return Knee(
                passed, failed, f"the rates are within {resolution:.0%} of each other", (*probes,)
            )
        else:
            rate = (passed + failed) / 2
    return Knee(passed, failed, f"{max_probes} rates were tried", (*probes,))


async def confirm(
    found: Knee[MeasurementT],
    measure: Callable[[float], Awaitable[tuple[bool, MeasurementT]]],
    *,
    resolution: float,
    max_runs: int = 3,
) -> Knee[MeasurementT]:
    """Run the rate that passed once more, for longer; where that fails, a lower one.

    So the knee is never a rate that passed by luck. Each rate is run once here, too, and the next
    one is lower by the resolution.

    Args:
        found: Of `find_knee`.
        measure: As there, but of a longer run.
        resolution: As there.
        max_runs: How many rates at most, from 1.

    Returns:
        The knee with the confirming runs. No rate has passed where none of them did.
    """
    runs: list[Probe[MeasurementT]] = []
    rate, failed = found.passed_per_s, found.failed_per_s
    while rate > 0 and len(runs) < max_runs:
        is_within, measurement = await measure(rate)
        runs.append(Probe(rate, is_within, measurement))
        if is_within:
            return replace(found, passed_per_s=rate, failed_per_s=failed, confirmations=tuple(runs))
        failed, rate = rate, rate / (1 + resolution)
    return replace(found, passed_per_s=0.0, failed_per_s=failed, confirmations=tuple(runs))
