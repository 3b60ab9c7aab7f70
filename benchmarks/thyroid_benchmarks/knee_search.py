"""The search for the knee on a server: which run passes, and how it is confirmed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from thyroid_benchmarks.console import run_line
from thyroid_benchmarks.knee import Knee, confirm, find_knee
from thyroid_benchmarks.measure import Measured, Subject, measure
from thyroid_benchmarks.scenarios import Scenario, Wish, make_scenario
from thyroid_benchmarks.verdict import FAILURES_CHECK, GENERATOR_CHECK, LATE_CHECK

Say = Callable[[str], object]
Run = Callable[[Scenario, Subject], Awaitable[Measured]]

# Beyond the knee the queue grows, latencies drift and requests are turned away: that is no fault of
# the run. These are.
_NEEDED = frozenset({FAILURES_CHECK, GENERATOR_CHECK, LATE_CHECK})


async def search(
    subject: Subject,
    wish: Wish,
    start_per_s: float,
    *,
    resolution: float,
    max_probes: int,
    say: Say,
    factor: float = 2.0,
    confirm_s: float | None = None,
    run: Run = measure,
) -> Knee[Measured]:
    """Search for the highest rate at which p99 stays within the bound and nothing fails.

    Args:
        subject: What is measured.
        wish: Durations, bound and seed of a probe.
        start_per_s: See `find_knee`, likewise `resolution`, `max_probes` and `factor`.
        resolution: As above.
        max_probes: As above.
        say: Told each run's line when it is done.
        factor: As above.
        confirm_s: How long a confirming run lasts, see `confirm`; None does without.
        run: Runs one scenario.

    Raises:
        ValueError: The wish has no bound.
    """
    bound_ms = wish.bound_ms
    if bound_ms is None:
        raise ValueError("the knee came without a bound; one in ms was wanted: give `bound_ms`")

    def probe_for(duration_s: float) -> Callable[[float], Awaitable[tuple[bool, Measured]]]:
        async def probe(rate_per_s: float) -> tuple[bool, Measured]:
            own = replace(wish, duration_s=duration_s, rate_per_s=round(rate_per_s, 3))
            measured = await run(make_scenario("server", own), subject)
            passed = passes(measured, bound_ms)
            say(f"{'passed' if passed else 'failed'}  {run_line(measured)}")
            return passed, measured

        return probe

    found = await find_knee(
        probe_for(wish.duration_s),
        start_per_s,
        resolution=resolution,
        max_probes=max_probes,
        factor=factor,
    )
    if confirm_s is None:
        return found
    return await confirm(found, probe_for(confirm_s), resolution=resolution)


def passes(measured: Measured, bound_ms: float) -> bool:
    """Whether a rate was sustained: p99 within the bound, nothing wrong, every request in time."""
    return (
        measured.summary.latency_ms[99.0].value <= bound_ms
        and not measured.observed.faults
        and all(check.passed for check in measured.verdict.checks if check.name in _NEEDED)
    )
