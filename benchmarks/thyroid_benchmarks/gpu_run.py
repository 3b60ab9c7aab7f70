"""The runs of the GPU's table: a lone client, more and more in flight, offline, and the knee."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from thyroid_benchmarks.console import run_line
from thyroid_benchmarks.gpu_watch import GpuWatch, Utilisation, utilisation_of
from thyroid_benchmarks.knee import Knee
from thyroid_benchmarks.knee_search import search
from thyroid_benchmarks.measure import Measured, Subject, measure
from thyroid_benchmarks.scenarios import IN_FLIGHT, Scenario, Wish, make_scenario, offline_warmup_s
from thyroid_benchmarks.verdict import Rules

_START_SHARE = 0.7  # of the highest rate seen, where the search for the knee starts


@dataclass(frozen=True)
class GpuPlan:
    """How much is measured.

    Attributes:
        images: Size of the pool.
        wish: Durations, bound and seed of every run.
        in_flight: Numbers of requests that are kept on their way, ascending, from 1.
        probe_s: Duration of a probe of the knee.
        max_probes: How many probes at most.
        resolution: Of the knee, as a share.
        floor_cases: Images of the floor, which is measured for the CPU alone.
        floor_rounds: Its rounds.
        rules: What runs must keep to.
    """

    images: int
    wish: Wish
    in_flight: tuple[int, ...]
    probe_s: float
    max_probes: int
    resolution: float
    floor_cases: int
    floor_rounds: int
    rules: Rules = field(default_factory=Rules)


# Less than a minute of load: to see that everything runs.
SHORT = GpuPlan(
    images=12,
    wish=Wish(duration_s=4, warmup_s=1, bound_ms=50),
    in_flight=(1, 8, 64),
    probe_s=4,
    max_probes=3,
    resolution=0.1,
    floor_cases=4,
    floor_rounds=4,
    rules=Rules(min_duration_s=4, min_requests=20, min_compared=3),
)
# Seven or eight minutes of load.
FULL = GpuPlan(
    images=300,
    wish=Wish(duration_s=20, warmup_s=4, bound_ms=50),
    in_flight=(1, 2, 4, 8, 16, 32, 64),
    probe_s=20,
    max_probes=10,
    resolution=0.05,
    floor_cases=50,
    floor_rounds=5,
)


@dataclass(frozen=True)
class GpuRun:
    """A run and how busy the GPU was; None where nobody told."""

    measured: Measured
    utilisation: Utilisation | None

    @property
    def rate_per_s(self) -> float:
        """Right answers per second."""
        return self.measured.summary.rate_per_s.value


async def run_plan(
    plan: GpuPlan, subject: Subject, watch: GpuWatch | None, say: Callable[[str], object]
) -> tuple[list[GpuRun], Knee[Measured]]:
    """Measure a plan against a server.

    Args:
        plan: What to measure.
        subject: On what.
        watch: Tells how busy the GPU is; None where nobody does.
        say: Told each run's line when it is done.

    Returns:
        The closed loops by what is in flight, then offline; and the knee.
    """
    runs = [
        await _run(_closed_loop(plan.wish, count), subject, watch, say) for count in plan.in_flight
    ]
    best_per_s = max(run.rate_per_s for run in runs)
    rated = replace(plan.wish, rate_per_s=max(best_per_s, 0.1))
    images = IN_FLIGHT + round(rated.rate_per_s * (offline_warmup_s(rated) + rated.duration_s))
    offline = make_scenario("offline", replace(rated, images=images))
    runs.append(await _run(offline, subject, watch, say))
    return runs, await _knee(plan, subject, runs[0].measured, best_per_s, say)


def _closed_loop(wish: Wish, count: int) -> Scenario:
    if count == 1:
        return make_scenario("single-stream", wish)
    return make_scenario("clients", replace(wish, clients=count))


async def _run(
    scenario: Scenario, subject: Subject, watch: GpuWatch | None, say: Callable[[str], object]
) -> GpuRun:
    samples: list[float] = []
    with contextlib.nullcontext() if watch is None else watch.watching(samples):
        measured = await measure(scenario, subject)
    say(run_line(measured))
    return GpuRun(measured, utilisation_of(samples))


async def _knee(
    plan: GpuPlan,
    subject: Subject,
    alone: Measured,
    best_per_s: float,
    say: Callable[[str], object],
) -> Knee[Measured]:
    bound_ms = plan.wish.bound_ms
    median_ms = alone.summary.latency_ms[50.0].value
    if bound_ms is not None and not median_ms <= bound_ms:
        stopped = (
            f"no rate can pass: half of the lone requests take {median_ms:.0f} ms or more, the "
            f"bound is {bound_ms:g} ms"
        )
        return Knee(0.0, None, stopped, ())
    return await search(
        subject,
        replace(plan.wish, duration_s=plan.probe_s),
        max(round(_START_SHARE * best_per_s, 2), 0.1),
        resolution=plan.resolution,
        max_probes=plan.max_probes,
        say=say,
    )
