"""Our generator and NVIDIA's perf_analyzer on the same points, in turns: do they agree?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from thyroid_benchmarks.console import run_line, with_ends
from thyroid_benchmarks.estimates import Estimate, paired_ratio, percentile
from thyroid_benchmarks.generator import generate
from thyroid_benchmarks.measure import Measured, Subject, measure
from thyroid_benchmarks.perf_analyzer_run import PerfFigures
from thyroid_benchmarks.pool import Pool, order
from thyroid_benchmarks.references import References
from thyroid_benchmarks.scenarios import ClosedLoop, OpenLoop, Scenario, Wish, make_scenario
from thyroid_benchmarks.schedule import NS_PER_S
from thyroid_benchmarks.summary import NS_PER_MS
from thyroid_benchmarks.target import OK, connect

AGREEMENT = 0.10
FIGURES = ("rate_per_s", "p50_ms", "p95_ms")
_LEAST_SCREENINGS = 200
_WARM_UP_CLIENTS = 8
_WISH = Wish(duration_s=18, warmup_s=2)

Say = Callable[[str], object]
Analyze = Callable[[Scenario, Subject], PerfFigures]
"""Runs perf_analyzer once."""
Warm = Callable[[Subject, float], Awaitable[None]]
"""Loads a server for so many seconds."""


@dataclass(frozen=True)
class Point:
    """One scenario, measured by both in every round.

    Attributes:
        scenario: What was run.
        ours: Our generator's runs, one for each round.
        theirs: perf_analyzer's figures, likewise.
    """

    scenario: Scenario
    ours: tuple[Measured, ...]
    theirs: tuple[PerfFigures, ...]

    @property
    def valid(self) -> tuple[int, ...]:
        """The rounds, from 0, in which our run is VALID; only they are compared."""
        return tuple(number for number, run in enumerate(self.ours) if run.verdict.valid)

    def our_figures(self, figure: str) -> list[float]:
        """Return a figure of ours by VALID round, defined as perf_analyzer defines it."""
        return [_ours(self.ours[number], figure) for number in self.valid]

    def their_figures(self, figure: str) -> list[float]:
        """Return perf_analyzer's figure of the same rounds."""
        return [float(getattr(self.theirs[number], figure)) for number in self.valid]

    def ratio(self, figure: str) -> Estimate | None:
        """Divide perf_analyzer's figure by ours, with the range over the rounds; None without."""
        if not self.valid:
            return None
        return paired_ratio(self.their_figures(figure), self.our_figures(figure))

    def agrees(self, figure: str) -> bool | None:
        """Whether both agree within `AGREEMENT`, whichever is the larger; None: not judged."""
        spread = self.ratio(figure)
        return None if spread is None else 1 / (1 + AGREEMENT) <= spread.value <= 1 + AGREEMENT

    def reasons(self) -> list[str]:
        """Say why the two may differ, for a point where they do; what holds of this very point."""
        wide = [figure for figure in FIGURES if not self.agrees(figure)]
        if not wide:
            return []
        told = []
        for figure in wide:
            spread = self.ratio(figure)
            if spread is None or spread.low is None or spread.high is None:
                continue
            if spread.low < 1 < spread.high:
                told.append(
                    f"{figure}: the rounds lie on both sides of 1 ({with_ends(spread)}), so that "
                    "the machine varied by more than the two differ"
                )
        told += [
            f"our run of round {number + 1} is INVALID and left out: "
            f"{'; '.join(run.verdict.reasons)}"
            for number, run in enumerate(self.ours)
            if not run.verdict.valid
        ]
        fewest = min((self.ours[number].summary.screenings for number in self.valid), default=None)
        if "p95_ms" in wide and fewest is not None and fewest < _LEAST_SCREENINGS:
            told.append(f"a 95th percentile of {fewest} screenings is uncertain in itself")
        return told or ["nothing seen here explains it: look at both before citing either"]

    def as_dict(self) -> dict[str, Any]:
        """Return the point for a report."""
        return {
            "scenario": self.scenario.as_dict(),
            "figures": {figure: self._figure(figure) for figure in FIGURES},
            "reasons": self.reasons(),
            "verdicts": [run.verdict.word for run in self.ours],
        }

    def _figure(self, figure: str) -> dict[str, Any]:
        ratio = self.ratio(figure)
        return {
            "ours": self.our_figures(figure),
            "perf_analyzer": self.their_figures(figure),
            "ratio": None if ratio is None else ratio.as_dict(),
            "agrees": self.agrees(figure),
        }


@dataclass(frozen=True)
class CrossCheckPlan:
    """How much is measured.

    Attributes:
        clients: Closed loops, by number of clients.
        rates_per_s: Open loops with Poisson arrivals.
        rounds: How often each is measured by both.
        wish: Durations and seed. The warm-up goes before each measurement, of either kind, and is
            no part of it: perf_analyzer counts from its first request.
    """

    clients: tuple[int, ...] = (1, 4, 8)
    rates_per_s: tuple[float, ...] = (8.0,)
    rounds: int = 3
    wish: Wish = _WISH


def scenarios_of(plan: CrossCheckPlan) -> list[Scenario]:
    """Return the scenarios of a plan; each counts from its first request to its last."""
    wish = replace(plan.wish, warmup_s=0.0)
    closed = [make_scenario("clients", replace(wish, clients=clients)) for clients in plan.clients]
    opened = [make_scenario("server", replace(wish, rate_per_s=rate)) for rate in plan.rates_per_s]
    return closed + opened


async def warm_up(subject: Subject, seconds: float) -> None:
    """Load a server for a while, so that neither generator meets a cold one."""
    target = connect(subject.address, subject.pool, subject.references)
    scenario = Scenario("warm-up", ClosedLoop(_WARM_UP_CLIENTS, seconds), 0.0)
    try:
        await generate(scenario, target, order(subject.pool, subject.seed))
    finally:
        await target.close()


async def cross_check(
    plan: CrossCheckPlan,
    subject: Subject,
    analyze: Analyze,
    say: Say,
    warm: Warm = warm_up,
) -> list[Point]:
    """Measure every point by both, one after the other, and the other way round in every second.

    Args:
        plan: How much.
        subject: A server and images; see `sound_subject`.
        analyze: Runs perf_analyzer.
        say: Told every run's line.
        warm: Warms the server up before each measurement.

    Raises:
        PeerUnavailableError: perf_analyzer failed.
        ValueError: It wrote no figures.
    """
    points = []
    for scenario in scenarios_of(plan):
        ours: list[Measured] = []
        theirs: list[PerfFigures] = []
        for number in range(plan.rounds):
            for is_ours in ((True, False), (False, True))[number % 2]:
                await warm(subject, plan.wish.warmup_s)
                if is_ours:
                    name = f"cross-check, {scenario.name}, round {number + 1}"
                    ours.append(await measure(replace(scenario, name=name), subject))
                    say(run_line(ours[-1]))
                else:
                    theirs.append(analyze(scenario, subject))
                    say(f"         perf_analyzer, {scenario.name}: {_line(theirs[-1])}")
        points.append(Point(scenario, tuple(ours), tuple(theirs)))
    return points


def sound_subject(subject: Subject) -> Subject:
    """Leave out the corrupt images: perf_analyzer ends at the first refusal."""
    kept = [index for index, case in enumerate(subject.pool.cases) if case.kind != "corrupt"]
    pool = Pool(
        tuple(replace(subject.pool.cases[old], index=new) for new, old in enumerate(kept)),
        tuple(subject.pool.contents[old] for old in kept),
        subject.pool.seed,
    )
    references = subject.references
    if references is not None:
        answers = {
            new: references.answers[old]
            for new, old in enumerate(kept)
            if old in references.answers
        }
        references = References(answers, references.weights)
    return replace(subject, pool=pool, references=references)


def as_dict(points: Sequence[Point], fault: str | None) -> dict[str, Any]:
    """Return the cross-check for a report; `fault` says why there is none."""
    return {
        "allowed": AGREEMENT,
        "fault": fault,
        "points": [point.as_dict() for point in points],
    }


def _ours(run: Measured, figure: str) -> float:
    """Return our figure as perf_analyzer counts.

    That is, of what was answered by the end, in an open loop too from sending.
    """
    if figure == "rate_per_s":
        return run.summary.rate_per_s.value
    percent = 50.0 if figure == "p50_ms" else 95.0
    record, load = run.record, run.scenario.load
    assert isinstance(load, ClosedLoop | OpenLoop), "made by `scenarios_of`"
    last_ns = record.start_ns + round(load.duration_s * NS_PER_S)
    counted = (record.done_ns <= last_ns) & (np.array(record.outcome) == OK)
    latency_ms = (record.done_ns - record.sent_ns)[counted] / NS_PER_MS
    return percentile(latency_ms, percent).value


def _line(figures: PerfFigures) -> str:
    return (
        f"{figures.rate_per_s:.2f} answers/s  p50 {figures.p50_ms:.0f} ms  "
        f"p95 {figures.p95_ms:.0f} ms"
    )
