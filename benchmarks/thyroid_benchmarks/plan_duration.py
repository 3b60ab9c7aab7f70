"""How long a plan takes, computed from the plan itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from thyroid_benchmarks.layouts_contestants import make_layouts
from thyroid_benchmarks.peer_figures import PeerPlan
from thyroid_benchmarks.peer_list import PEERS
from thyroid_benchmarks.scenarios import Name, Wish, offline_warmup_s
from thyroid_benchmarks.suite import TUTORIAL_PLAN, Plan, long_enough
from thyroid_benchmarks.suite_run import SERVER_SHARE
from thyroid_server.cores import usable_cores

# What does not stand in a plan: of two slow cores, so that a plan promises too little rather than
# too much.
CASES_PER_S = 10.0  # of the floor and of the server
_IMAGE_S = 0.4  # an image is made and screened offline
_START_S = 8.0  # a server comes and goes, or an interpreter with torch
_CHECK_S = 2.0  # the answers of a contestant before its load
_AROUND_S = 2.5  # a look at the machine before a run, the last answers after it, its figures
_CONFIRMING_RUNS = 3
_OWN_CONTESTANTS = 2  # ours and the tutorial's


def planned_s(plan: Plan, *, beside: bool) -> dict[str, float]:
    """Return by part how many seconds a plan takes, without what is fetched the first time.

    Args:
        plan: How much is measured.
        beside: Whether peers, layouts and cross-check are part of it; without them the tutorial's
            ensemble is.
    """
    floor_s = _START_S + _floor_s(plan)
    parts = {
        "images and right answers": 2 * _START_S + plan.images * _IMAGE_S,
        "floor": floor_s,
        "scenarios": _START_S + _scenarios_s(plan),
        "knee": plan.max_probes * _run_s(plan.wish, plan.probe_s)
        + _CONFIRMING_RUNS * _run_s(plan.wish, plan.confirm_s),
    }
    if plan.soak_s:
        parts["soak"] = _run_s(plan.wish, plan.soak_s)
    if beside:
        check, wish = plan.cross_check, plan.cross_check.wish
        points = len(check.clients) + len(check.rates_per_s)
        # Each by our generator and by theirs.
        parts["cross-check"] = 2 * check.rounds * points * _run_s(wish, wish.duration_s)
        peers = _OWN_CONTESTANTS + sum(
            len(set(peer.layouts) & set(plan.peers.layouts)) for peer in PEERS
        )
        parts["peers"] = _comparison_s(plan.peers, peers)
        layouts = len(make_layouts(Path(), usable_cores()))
        parts["layouts"] = floor_s + _comparison_s(plan.layouts, layouts)
    else:
        parts["tutorial's ensemble"] = _comparison_s(TUTORIAL_PLAN, _OWN_CONTESTANTS)
    return parts


def plan_line(parts: dict[str, float]) -> str:
    """Say how long a plan takes, in minutes."""
    told = ", ".join(f"{name} {seconds / 60:.0f}" for name, seconds in parts.items())
    return (
        f"plan     {sum(parts.values()) / 60:.0f} minutes at most on two cores, without what is "
        f"fetched: {told}"
    )


def _floor_s(plan: Plan) -> float:
    """Networks and pipeline, each one after another and at once, and the round that warms up."""
    return 4 * plan.floor_cases * (plan.floor_rounds + 1) / CASES_PER_S


def _scenarios_s(plan: Plan) -> float:
    closed = 2 + len(plan.clients)  # one client, multi-stream
    offline = replace(plan.wish, rate_per_s=CASES_PER_S)
    rates: dict[Name, float] = {"server": SERVER_SHARE * CASES_PER_S}
    rates |= dict.fromkeys(plan.shapes, CASES_PER_S)
    lasting = [
        long_enough(name, replace(plan.wish, rate_per_s=rate), plan.rules).duration_s
        for name, rate in rates.items()
    ]
    return (
        closed * _run_s(plan.wish, plan.wish.duration_s)
        + _run_s(replace(offline, warmup_s=offline_warmup_s(offline)), offline.duration_s)
        + sum(_run_s(plan.wish, duration_s) for duration_s in lasting)
    )


def _comparison_s(plan: PeerPlan, contestants: int) -> float:
    run_s = _run_s(plan.wish, plan.wish.duration_s)
    rounds_s = plan.rounds * contestants * (_START_S + _CHECK_S + len(plan.clients) * run_s)
    if contestants <= _OWN_CONTESTANTS:
        return rounds_s
    in_a_run_off = 3  # ours, the best rate's and the shortest tail's
    run_offs = len(plan.clients) * plan.run_off_rounds * in_a_run_off
    return rounds_s + run_offs * (_START_S + _CHECK_S + run_s)


def _run_s(wish: Wish, duration_s: float) -> float:
    return wish.warmup_s + duration_s + _AROUND_S
