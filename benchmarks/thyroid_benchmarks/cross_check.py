"""Our generator and NVIDIA's perf_analyzer on the same points, in turns: do they agree?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from thyroid_benchmarks.console import run_line, with_ends
from thyroid_benchmarks.estimates import Estimate, paired_ratio, percentile
from thyroid_benchmarks.measure import Measured, Subject, measure
from thyroid_benchmarks.perf_analyzer_run import PerfFigures
from thyroid_benchmarks.pool import Pool
from thyroid_benchmarks.references import References
from thyroid_benchmarks.scenarios import Scenario, Wish, make_scenario
from thyroid_benchmarks.schedule import NS_PER_S
from thyroid_benchmarks.summary import NS_PER_MS
from thyroid_benchmarks.target import OK

AGREEMENT = 0.10
FIGURES = ("rate_per_s", "p50_ms", "p95_ms")
_LEAST_SCREENINGS = 200
_WISH = Wish(duration_s=18, warmup_s=2)

Say = Callable[[str], object]
Analyze = Callable[[Scenario, Subject], PerfFigures]
"""Runs perf_analyzer once."""


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

    def our_figures(self, figure: str) -> list[float]:
        """Return a figure of ours by round, defined as perf_analyzer defines it."""
        return [_ours(run, figure) for run in self.ours]

    def ratio(self, figure: str) -> Estimate:
        """Divide perf_analyzer's figure by ours, with the range over the rounds."""
        theirs = [getattr(figures, figure) for figures in self.theirs]
        return paired_ratio(theirs, self.our_figures(figure))

    def agrees(self, figure: str) -> bool:
        """Whether both agree within `AGREEMENT`, whichever is the larger."""
        value = self.ratio(figure).value
        return 1 / (1 + AGREEMENT) <= value <= 1 + AGREEMENT

    def reasons(self) -> list[str]:
        """Say why the two may differ, for a point where they do; what holds of this very point."""
        wide = [figure for figure in FIGURES if not self.agrees(figure)]
        if not wide:
            return []
        told = []
        for figure in wide:
            spread = self.ratio(figure)
            if spread.low is not None and spread.high is not None and spread.low < 1 < spread.high:
                told.append(
                    f"{figure}: the rounds lie on both sides of 1 ({with_ends(spread)}), so that "
                    "the machine varied by more than the two differ"
                )
        told += [
            f"our run of round {number + 1} is INVALID: {'; '.join(run.verdict.reasons)}"
            for number, run in enumerate(self.ours)
            if not run.verdict.valid
        ]
        fewest = min(run.summary.screenings for run in self.ours)
        if "p95_ms" in wide and fewest < _LEAST_SCREENINGS:
            told.append(f"a 95th percentile of {fewest} screenings is uncertain in itself")
        return told or ["nothing seen here explains it: look at both before citing either"]

    def as_dict(self) -> dict[str, Any]:
        """Return the point for a report."""
        return {
            "scenario": self.scenario.as_dict(),
            "figures": {
                figure: {
                    "ours": self.our_figures(figure),
                    "perf_analyzer": [getattr(figures, figure) for figures in self.theirs],
                    "ratio": self.ratio(figure).as_dict(),
                    "agrees": self.agrees(figure),
                }
                for figure in FIGURES
            },
            "reasons": self.reasons(),
            "verdicts": [run.verdict.word for run in self.ours],
        }


@dataclass(frozen=True)
class CrossCheckPlan:
    """How much is measured.

    Attributes:
        clients: Closed loops, by number of clients.
        rates_per_s: Open loops with Poisson arrivals.
        rounds: How often each is measured by both.
        wish: Durations and seed.
    """

    clients: tuple[int, ...] = (1, 4, 8)
    rates_per_s: tuple[float, ...] = (8.0,)
    rounds: int = 3
    wish: Wish = _WISH


def scenarios_of(plan: CrossCheckPlan) -> list[Scenario]:
    """Return the scenarios of a plan."""
    closed = [
        make_scenario("clients", replace(plan.wish, clients=clients)) for clients in plan.clients
    ]
    opened = [
        make_scenario("server", replace(plan.wish, rate_per_s=rate)) for rate in plan.rates_per_s
    ]
    return closed + opened


async def cross_check(
    plan: CrossCheckPlan, subject: Subject, analyze: Analyze, say: Say
) -> list[Point]:
    """Measure every point by both, one after the other, and the other way round in every second.

    Args:
        plan: How much.
        subject: A server and images; see `sound_subject`.
        analyze: Runs perf_analyzer.
        say: Told every run's line.

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
    """Return our figure; in an open loop from sending, as perf_analyzer counts."""
    if figure == "rate_per_s":
        return run.summary.rate_per_s.value
    percent = 50.0 if figure == "p50_ms" else 95.0
    record, first_ns = run.record, round(run.scenario.warmup_s * NS_PER_S)
    counted = (record.sent_ns - record.start_ns >= first_ns) & (np.array(record.outcome) == OK)
    latency_ms = (record.done_ns - record.sent_ns)[counted] / NS_PER_MS
    return percentile(latency_ms, percent).value


def _line(figures: PerfFigures) -> str:
    return (
        f"{figures.rate_per_s:.2f} answers/s  p50 {figures.p50_ms:.0f} ms  "
        f"p95 {figures.p95_ms:.0f} ms"
    )
