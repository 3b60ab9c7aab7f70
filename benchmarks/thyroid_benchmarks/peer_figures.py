"""Who is compared, what was measured, and the figures and ratios that come of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from thyroid_benchmarks.estimates import Estimate, paired_ratio
from thyroid_benchmarks.measure import Measured, Subject
from thyroid_benchmarks.peer_list import LAYOUTS, OURS, Layout
from thyroid_benchmarks.scenarios import Wish
from thyroid_benchmarks.target import ScreeningTarget
from thyroid_benchmarks.verdict import Rules

_WISH = Wish(duration_s=12, warmup_s=2)

Connect = Callable[[Subject, int], ScreeningTarget]
"""Connects to a running server, given which share of the answers is to be kept (see
`ScreeningTarget.keep_every`); called inside the event loop that sends."""
Open = Callable[[], contextlib.AbstractContextManager[Connect]]
"""Starts a server and ends it again; raises PeerUnavailableError where it cannot."""


@dataclass(frozen=True)
class Contestant:
    """Something that serves the screening.

    Attributes:
        name: Whose.
        layout: Which of its layouts; "" where it has one.
        tuned: What it is tuned to.
        open: Starts it.
        versions: Of its packages.
    """

    name: str
    layout: str
    tuned: str
    open: Open
    versions: dict[str, str]

    @property
    def title(self) -> str:
        """Its name with its layout."""
        return f"{self.name} ({self.layout})" if self.layout else self.name


@dataclass(frozen=True)
class PeerPlan:
    """How much is measured.

    Attributes:
        clients: Closed loops, by number of clients.
        rounds: How often all are measured.
        wish: Durations and bound of a run.
        layouts: In which every peer is measured.
        rules: What a run must keep to.
    """

    clients: tuple[int, ...] = (1, 4, 8)
    rounds: int = 3
    wish: Wish = _WISH
    layouts: tuple[Layout, ...] = LAYOUTS
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True)
class PeerRun:
    """One contestant with one number of clients in one round."""

    title: str
    clients: int
    round: int
    measured: Measured

    @property
    def counts(self) -> bool:
        """Whether its figures may be compared: a fast server that is wrong does not count."""
        observed, summary = self.measured.observed, self.measured.summary
        return summary.failed == 0 and summary.screenings > 0 and not observed.faults


@dataclass(frozen=True)
class Comparison:
    """What came of it.

    Attributes:
        contestants: In the order given.
        runs: In the order measured.
        faults: Why a contestant was not measured, or not to the end, by title.
        plan: What was wanted.
    """

    contestants: tuple[Contestant, ...]
    runs: tuple[PeerRun, ...]
    faults: dict[str, str]
    plan: PeerPlan

    def as_dict(self) -> dict[str, Any]:
        """Return everything for a report."""
        return {
            "clients": list(self.plan.clients),
            "rounds": self.plan.rounds,
            "duration_s": self.plan.wish.duration_s,
            "contestants": [self._contestant(one) for one in self.contestants],
            "invalid": [
                {"run": run.measured.scenario.name, "reasons": list(run.measured.verdict.reasons)}
                for run in self.runs
                if run.measured.verdict.word != "VALID"
            ],
            "best_peer": [
                {
                    "clients": clients,
                    "rate": _optional(self.ours_over_best(clients, "rate_per_s")),
                    "p95": _optional(self.ours_over_best(clients, "p95_ms")),
                }
                for clients in self.plan.clients
            ],
        }

    def figures(self, title: str, clients: int, figure: str) -> dict[int, float]:
        """Return one figure of a contestant by round; rounds that do not count are left out."""
        return {
            run.round: _FIGURES[figure](run.measured)
            for run in self.runs
            if (run.title, run.clients) == (title, clients) and run.counts
        }

    def ratio_to_ours(self, title: str, clients: int, figure: str) -> Estimate | None:
        """Divide a contestant's figure by ours of the same round; None without a common round."""
        theirs = self.figures(title, clients, figure)
        ours = self.figures(OURS, clients, figure)
        common = sorted(theirs.keys() & ours.keys())
        if not common:
            return None
        return paired_ratio(
            [theirs[number] for number in common], [ours[number] for number in common]
        )

    def ours_over_best(self, clients: int, figure: str) -> Estimate | None:
        """Divide ours by the best of all peers and layouts in each round, whoever that was then."""
        best_of = max if figure == "rate_per_s" else min
        ours = self.figures(OURS, clients, figure)
        peers = [one.title for one in self.contestants if one.name != OURS]
        found = [self.figures(title, clients, figure) for title in peers]
        best = {
            number: best_of(figures[number] for figures in found if number in figures)
            for number in ours
            if any(number in figures for figures in found)
        }
        if not best:
            return None
        return paired_ratio([ours[number] for number in best], list(best.values()))

    def _contestant(self, one: Contestant) -> dict[str, Any]:
        return {
            "title": one.title,
            "name": one.name,
            "layout": one.layout,
            "tuned": one.tuned,
            "versions": one.versions,
            "fault": self.faults.get(one.title),
            "points": [self._point(one.title, clients) for clients in self.plan.clients],
        }

    def _point(self, title: str, clients: int) -> dict[str, Any]:
        runs = [run for run in self.runs if (run.title, run.clients) == (title, clients)]
        return {
            "clients": clients,
            "counted": sum(run.counts for run in runs),
            **{
                figure: _optional(spread(list(self.figures(title, clients, figure).values())))
                for figure in _FIGURES
            },
            "ratios": {
                figure: _optional(self.ratio_to_ours(title, clients, figure)) for figure in _FIGURES
            },
            "runs": [{"round": run.round, **run.measured.as_dict()} for run in runs],
        }


_FIGURES: dict[str, Callable[[Measured], float]] = {
    "rate_per_s": lambda run: run.summary.rate_per_s.value,
    "p50_ms": lambda run: run.summary.latency_ms[50.0].value,
    "p95_ms": lambda run: run.summary.latency_ms[95.0].value,
}


def spread(values: Sequence[float]) -> Estimate | None:
    """Return the median of the rounds with the smallest and the largest; None without any."""
    return None if not values else paired_ratio(values, [1.0] * len(values))


def _optional(value: Estimate | None) -> dict[str, float | None] | None:
    return None if value is None else value.as_dict()
