"""The whole suite on a server of known capacity: its order, its rates, and what is kept when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thyroid_benchmarks.estimates import Estimate
from thyroid_benchmarks.generator import generate
from thyroid_benchmarks.knee import Knee
from thyroid_benchmarks.knee_search import passes
from thyroid_benchmarks.layouts_contestants import make_layouts
from thyroid_benchmarks.measure import Measured, Subject
from thyroid_benchmarks.plan_duration import plan_line, planned_s
from thyroid_benchmarks.pool import Case, Pool
from thyroid_benchmarks.scenarios import Offline, OpenLoop, Scenario, make_scenario
from thyroid_benchmarks.suite import FULL, SHORT, Plan, long_enough
from thyroid_benchmarks.suite_run import run_suite
from thyroid_benchmarks.summary import summarise
from thyroid_benchmarks.target import TURNED_AWAY, WRONG_ANSWER
from thyroid_benchmarks.verdict import Observed, Rules, judge

POOL = Pool((Case(0, "nodule", "PNG", 80, 120),), (b"image",), 1)
SUBJECT = Subject("localhost:1", POOL, None, "0123456789abcdef", Rules(), 1)
SEEN = Observed(0.01, 0.0, 0.0, 50, (), references=True, others_during_share=0.0)
QUEUE = 128
# Two workers of 100 ms.
CAPACITY_PER_S = 20.0


class Fakes:
    """Runs scenarios on a server of two workers, on a clock that jumps."""

    def __init__(self, play: Any, fake_server: Any) -> None:
        self.play = play
        self.fake_server = fake_server
        self.scenarios: list[Scenario] = []
        self.outcome = "ok"

    async def run(self, scenario: Scenario, subject: Subject) -> Measured:
        self.scenarios.append(scenario)

        async def whole(loop: Any) -> Any:
            server = self.fake_server(loop.time, 2 / CAPACITY_PER_S, workers=2)
            server.outcome = lambda _: TURNED_AWAY if server.in_flight > QUEUE else self.outcome
            return await generate(scenario, server, [0], loop.time_ns)

        record = await asyncio.to_thread(self.play, whole)
        summary = summarise(record, scenario, np.array([True]))
        verdict = judge(
            summary,
            SEEN,
            None,
            subject.rules,
            is_open=scenario.is_open,
            is_level=scenario.is_level,
        )
        return Measured(scenario, record, summary, SEEN, verdict, None)

    @property
    def names(self) -> list[str]:
        return [scenario.name.split()[0] for scenario in self.scenarios]

    def rates(self, name: str) -> list[float]:
        """The rates of the scenarios of a name, after their warm-up; the highest of each."""
        loads = [one.load for one in self.scenarios if one.name.startswith(name)]
        return [
            max(stage.rate_per_s for stage in load.stages)
            for load in loads
            if isinstance(load, OpenLoop)
        ]


@pytest.fixture
def fakes(play: Any, fake_server: Any) -> Fakes:
    return Fakes(play, fake_server)


def run(fakes: Fakes, plan: Plan) -> tuple[list[Measured], Knee[Measured] | None, list[int]]:
    saved: list[int] = []

    def save(runs: Sequence[Measured], knee: Knee[Measured] | None) -> None:
        saved.append(len(runs) + (0 if knee is None else len(knee.probes)))

    runs, knee = asyncio.run(run_suite(plan, SUBJECT, lambda _: None, save, fakes.run))
    return runs, knee, saved


def test_the_full_suite_is_scaled_by_what_it_measures(fakes: Fakes) -> None:
    runs, knee, saved = run(fakes, replace(FULL, soak_s=100))
    assert knee is not None
    searched = len(knee.probes) + len(knee.confirmations)
    assert fakes.names == [
        "single-stream", "4", "8", "16", "multi-stream", "offline",
        *["server"] * (1 + searched), "step", "spike", "soak",
    ]  # fmt: skip
    assert [one.scenario for one in runs] == [
        *fakes.scenarios[:7], *fakes.scenarios[7 + searched :],
    ]  # fmt: skip
    served, start, *_ = fakes.rates("server")
    assert served == pytest.approx(0.7 * CAPACITY_PER_S, rel=0.02)
    assert start == pytest.approx(0.9 * CAPACITY_PER_S, rel=0.02)
    assert 0.8 * CAPACITY_PER_S < knee.passed_per_s < CAPACITY_PER_S
    for name, share in (("step", 1.0), ("spike", 1.5), ("soak", 0.8)):
        assert fakes.rates(name) == [pytest.approx(share * knee.passed_per_s, rel=0.02)]
    # Something more after each run, and after the search.
    assert saved == sorted(set(saved))
    assert len(saved) == len(runs) + 1
    assert all(one.verdict.valid for one in runs), [
        (one.scenario.name, one.verdict.reasons) for one in runs if not one.verdict.valid
    ]


def test_the_short_suite_has_neither_shapes_nor_soak(fakes: Fakes) -> None:
    runs, knee, _ = run(fakes, SHORT)
    assert [one.scenario.name.split()[0] for one in runs] == [
        "single-stream", "4", "8", "multi-stream", "offline", "server",
    ]  # fmt: skip
    assert knee is not None
    assert knee.confirmations[-1].passed
    assert all(one.verdict.valid for one in runs)


def test_offline_lasts_as_long_as_the_others(fakes: Fakes) -> None:
    runs, _, _ = run(fakes, SHORT)
    (offline,) = [one for one in runs if isinstance(one.scenario.load, Offline)]
    assert offline.summary.duration_s == pytest.approx(SHORT.wish.duration_s, rel=0.1)
    assert offline.scenario.warmup_s == pytest.approx(2 * 64 / CAPACITY_PER_S, rel=0.05)


def test_a_server_that_only_errs_has_no_open_loop(fakes: Fakes) -> None:
    fakes.outcome = WRONG_ANSWER
    runs, knee, _ = run(fakes, SHORT)
    assert knee is None
    assert [one.scenario.name for one in runs] == [
        "single-stream", "4 clients", "8 clients", "multi-stream",
    ]  # fmt: skip


def test_a_bound_that_no_rate_keeps_leaves_out_what_the_knee_scales(fakes: Fakes) -> None:
    plan = replace(FULL, wish=replace(FULL.wish, bound_ms=1.0), max_probes=2, confirm_s=5)
    runs, knee, _ = run(fakes, plan)
    assert knee is not None
    assert knee.passed_per_s == 0
    assert runs[-1].scenario.name.startswith("server")


@pytest.mark.parametrize(
    ("summary", "observed", "passed"),
    [
        ({}, {}, True),
        ({"latency_ms": {99.0: Estimate(1001.0, None, None)}}, {}, False),
        ({"failures": {TURNED_AWAY: 1}}, {}, False),
        ({"late_ms": (0.0, 11.0, 12.0)}, {}, False),
        ({}, {"generator_share": 0.5}, False),
        ({}, {"faults": ("image 0: box is",)}, False),
        # The machine's own troubles show in the latencies, or do no harm.
        ({}, {"others_during_share": 0.5}, True),
    ],
)
def test_which_rate_passes(
    fakes: Fakes, summary: dict[str, Any], observed: dict[str, Any], passed: bool
) -> None:
    scenario = make_scenario("server", replace(SHORT.wish, rate_per_s=10))
    good = asyncio.run(fakes.run(scenario, SUBJECT))
    figures, seen = replace(good.summary, **summary), replace(SEEN, **observed)
    verdict = judge(figures, seen, 3.0, Rules(), is_open=True)  # beyond the knee it drifts
    assert passes(replace(good, summary=figures, observed=seen, verdict=verdict), 1000) is passed


def test_the_plans_keep_their_word() -> None:
    assert sum(planned_s(SHORT, beside=False).values()) < 600
    assert sum(planned_s(FULL, beside=True).values()) < 120 * 60
    assert sum(planned_s(FULL, beside=False).values()) < 40 * 60
    assert len(make_layouts(Path(), 2)) == 11


def test_a_plan_is_as_long_as_what_it_holds() -> None:
    parts = planned_s(FULL, beside=True)
    assert set(parts) == {
        "images and right answers", "floor", "scenarios", "knee", "soak", "cross-check", "peers",
        "layouts",
    }  # fmt: skip
    assert parts["soak"] == pytest.approx(600, abs=20)
    # Four points of 20 s, twice, by both.
    assert parts["cross-check"] == pytest.approx(16 * 24, rel=0.1)
    assert "soak" not in planned_s(SHORT, beside=False)
    longer = replace(FULL, peers=replace(FULL.peers, rounds=4, run_off_rounds=8))
    assert planned_s(longer, beside=True)["peers"] == pytest.approx(2 * parts["peers"])
    assert plan_line({"floor": 120.0, "knee": 600.0}).startswith("plan     12 minutes at most")


@pytest.mark.parametrize(("name", "mean_share"), [("server", 1), ("step", 0.75), ("spike", 0.6)])
def test_a_slow_server_is_sent_as_many_requests_as_the_verdict_asks_for(
    name: Any, mean_share: float
) -> None:
    wish, rules = replace(FULL.wish, rate_per_s=4.0), Rules(min_requests=400)
    longer = long_enough(name, wish, rules)
    assert longer.duration_s == pytest.approx(440 / (4 * mean_share), abs=1)
    assert long_enough(name, replace(wish, rate_per_s=100.0), rules).duration_s == 45
    assert long_enough("clients", wish, rules) == wish


def test_a_plan_without_the_clients_that_scale_it_is_refused() -> None:
    with pytest.raises(ValueError, match="8 was wanted among them"):
        replace(SHORT, clients=(1, 4))
