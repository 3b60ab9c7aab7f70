"""The scenarios of a plan and the knee, in the order in which each scales the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from thyroid_benchmarks.console import run_line
from thyroid_benchmarks.knee import Knee
from thyroid_benchmarks.knee_search import Run, Say, search
from thyroid_benchmarks.measure import Measured, Subject, measure
from thyroid_benchmarks.scenarios import Name, Wish, make_scenario, offline_warmup_s
from thyroid_benchmarks.suite import BASE_CLIENTS, Plan, long_enough

# Of what `BASE_CLIENTS` clients are served.
SERVER_SHARE = 0.7
_START_SHARE = 0.9
_FACTOR = 1.25  # the search starts near the knee: doubling would lead far away from it
_SOAK_SHARE = 0.8  # of the knee

Found = tuple[list[Measured], Knee[Measured] | None]
Save = Callable[[Sequence[Measured], Knee[Measured] | None], object]
"""Told all runs and the knee, where it is known, whenever there is more of them."""


async def run_suite(
    plan: Plan, subject: Subject, say: Say, save: Save, run: Run = measure
) -> Found:
    """Measure all scenarios of a plan, and the knee.

    The closed loops come first: what many clients are served scales the open ones, and the knee
    scales the shapes and the soak. So a plan fits networks of any size.

    Args:
        plan: What to measure.
        subject: On what.
        say: Told each run's line when it is done.
        save: Keeps what is there so far.
        run: Runs one scenario.

    Returns:
        The runs, and the knee; None where many clients got no screening at all, so that there is
        nothing to scale an open loop by.
    """
    runs: list[Measured] = []
    knee: Knee[Measured] | None = None

    async def add(name: Name, wish: Wish) -> Measured:
        runs.append(await run(make_scenario(name, wish), subject))
        say(run_line(runs[-1]))
        save(runs, knee)
        return runs[-1]

    async def add_open(name: Name, rate_per_s: float) -> None:
        wish = replace(plan.wish, rate_per_s=round(rate_per_s, 2))
        await add(name, long_enough(name, wish, plan.rules))

    await add("single-stream", plan.wish)
    rates = {
        count: (await add("clients", replace(plan.wish, clients=count))).summary.rate_per_s.value
        for count in plan.clients
    }
    await add("multi-stream", plan.wish)
    base_per_s = rates[BASE_CLIENTS]
    if not base_per_s > 0:
        say(f"no open loop: {BASE_CLIENTS} clients got no screening, whose rate would scale it")
        return runs, None
    await add("offline", _offline(replace(plan.wish, rate_per_s=base_per_s)))
    await add_open("server", SERVER_SHARE * base_per_s)
    knee = await search(
        subject,
        replace(plan.wish, duration_s=plan.probe_s),
        round(_START_SHARE * base_per_s, 2),
        resolution=plan.resolution,
        max_probes=plan.max_probes,
        say=say,
        factor=_FACTOR,
        confirm_s=plan.confirm_s,
        run=run,
    )
    save(runs, knee)
    if not knee.passed_per_s:
        say("no shape of load and no soak: no rate passed, by which they would be scaled")
        return runs, knee
    for name in plan.shapes:
        await add_open(name, knee.passed_per_s)
    if plan.soak_s:
        rate_per_s = round(_SOAK_SHARE * knee.passed_per_s, 2)
        await add("soak", replace(plan.wish, duration_s=plan.soak_s, rate_per_s=rate_per_s))
    return runs, knee


def _offline(wish: Wish) -> Wish:
    """So many images as last for the warm-up and the duration."""
    whole_s = offline_warmup_s(wish) + wish.duration_s
    return replace(wish, images=math.ceil(wish.rate_per_s * whole_s))
