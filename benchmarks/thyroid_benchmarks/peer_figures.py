"""Who is compared, what was measured, and the figures and ratios that come of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
        max_generator_share: See `verdict.Rules`; None for what the subject's rules say. More than
            that where a part of the work is the client's.
    """

    name: str
    layout: str
    tuned: str
    open: Open
    versions: dict[str, str]
    max_generator_share: float | None = None

    @property
    def title(self) -> str:
        """Its name with its layout."""
        return f"{self.name} ({self.layout})" if self.layout else self.name

    def rules(self, rules: Rules) -> Rules:
        """Return what its runs must keep to, given what all must."""
        if self.max_generator_share is None:
            return rules
        return replace(rules, max_generator_share=self.max_generator_share)


@dataclass(frozen=True)
class PeerPlan:
    """How much is measured.

    Attributes:
        clients: Closed loops, by number of clients.
        rounds: How often all are measured.
        run_off_rounds: How often ours and the best of the others are measured after that.
        wish: Durations and bound of a run.
        layouts: In which every peer is measured.
        rules: What a run must keep to.
    """

    clients: tuple[int, ...] = (1, 4, 8)
    rounds: int = 3
    run_off_rounds: int = 4
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
        """Whether its figures may be compared: a figure of an INVALID run may not be cited."""
        return self.measured.verdict.valid

    @property
    def is_right(self) -> bool:
        """Whether it served, and every answer was right, be the run VALID or not."""
        observed, summary = self.measured.observed, self.measured.summary
        return summary.failed == 0 and summary.screenings > 0 and not observed.faults


@dataclass(frozen=True)
class Ratio:
    """A ratio of two figures of the same round.

    Attributes:
        estimate: The median of the rounds, with the smallest and the largest.
        rounds: How many are behind it.
    """

    estimate: Estimate
    rounds: int

    def as_dict(self) -> dict[str, float | None]:
        """Return the numbers by name."""
        return {**self.estimate.as_dict(), "rounds": self.rounds}


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
        }

    def figures(
        self, title: str, clients: int, figure: str, *, if_invalid: bool = False
    ) -> dict[int, float]:
        """Return one figure of a contestant by round; rounds that do not count are left out.

        Args:
            title: Whose.
            clients: With how many clients.
            figure: Which.
            if_invalid: Whether INVALID rounds count, too, if all answers were right: to be weighed
                and not to be cited.
        """
        found = {
            run.round: _FIGURES[figure](run.measured)
            for run in self.runs
            if (run.title, run.clients) == (title, clients)
            and (run.counts or (if_invalid and run.is_right))
        }
        return {number: value for number, value in found.items() if value is not None}

    def ratio(self, title: str, other: str, clients: int, figure: str) -> Ratio | None:
        """Divide a contestant's figure by another's of the same round; None without a common one.

        A round in which one of the two is INVALID is none.
        """
        return _ratio(self.figures(title, clients, figure), self.figures(other, clients, figure))

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
                figure: _optional(self.ratio(title, OURS, clients, figure)) for figure in _FIGURES
            },
            "runs": [{"round": run.round, **run.measured.as_dict()} for run in runs],
        }


_FIGURES: dict[str, Callable[[Measured], float | None]] = {
    "rate_per_s": lambda run: run.summary.rate_per_s.value,
    "p95_ms": lambda run: run.summary.latency_ms[95.0].value,
    "p50_ms": lambda run: run.summary.latency_ms[50.0].value,
    "server_cpu_ms": lambda run: run.server_cpu_ms,
}


def spread(values: Sequence[float]) -> Estimate | None:
    """Return the median of the rounds with the smallest and the largest; None without any."""
    return None if not values else paired_ratio(values, [1.0] * len(values))


def _ratio(some: Mapping[int, float], others: Mapping[int, float]) -> Ratio | None:
    """Divide figures by those of the same round; None without a common one."""
    common = sorted(some.keys() & others.keys())
    if not common:
        return None
    estimate = paired_ratio(
        [some[number] for number in common], [others[number] for number in common]
    )
    return Ratio(estimate, len(common))


def _optional(value: Estimate | Ratio | None) -> dict[str, float | None] | None:
    return None if value is None else value.as_dict()
