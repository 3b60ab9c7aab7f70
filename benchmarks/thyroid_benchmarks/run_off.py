"""Ours against the best of the others, measured anew.

Who is the best of many in a few short rounds is so by luck as well, and a ratio to the best of each
round is one to its luck. So the rounds of all only say who is the best, by the median; ours and
that one are then measured again, in turns, and the ratio is of these rounds alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from thyroid_benchmarks.console import with_ends
from thyroid_benchmarks.measure import Measured, Subject, measure_target
from thyroid_benchmarks.peer_comparison import Run, Say, compare_peers
from thyroid_benchmarks.peer_figures import Comparison, Ratio, spread
from thyroid_benchmarks.peer_list import OURS

_RATE, _P95, _CPU = "rate_per_s", "p95_ms", "server_cpu_ms"
# By what the best is told, and how it stands in a result.
_FIELDS = {"rate": _RATE, "p95": _P95}


@dataclass(frozen=True)
class RunOff:
    """One number of clients.

    Attributes:
        clients: How many.
        best: The best of the others by `rate_per_s` and by `p95_ms`; nobody where that cannot be
            told.
        comparison: Of ours and the best; None without one.
    """

    clients: int
    best: dict[str, str]
    comparison: Comparison | None

    def over_best(self, figure: str) -> Ratio | None:
        """Divide our figure by the best's of the same round; None without a common VALID round."""
        if self.comparison is None or figure not in self.best:
            return None
        return self.comparison.ratio(OURS, self.best[figure], self.clients, figure)

    @property
    def runs(self) -> list[Measured]:
        """All that was run."""
        return [] if self.comparison is None else [run.measured for run in self.comparison.runs]

    def as_dict(self) -> dict[str, Any]:
        """Return everything for a report.

        `figures` holds by title the medians with their range, `verdicts` a word for each run, and
        `faults` by title why one could not be measured this time.
        """
        ratios = {name: self.over_best(figure) for name, figure in _FIELDS.items()}
        return {
            "clients": self.clients,
            **{name: None if ratio is None else ratio.as_dict() for name, ratio in ratios.items()},
            "titles": {name: self.best.get(figure) for name, figure in _FIELDS.items()},
            "rounds": 0 if self.comparison is None else self.comparison.plan.rounds,
            "figures": self._figures(),
            "verdicts": [run.verdict.word for run in self.runs],
            "faults": {} if self.comparison is None else dict(self.comparison.faults),
            "reasons": [reason for run in self.runs for reason in run.verdict.reasons],
        }

    def _figures(self) -> dict[str, dict[str, Any]]:
        if self.comparison is None:
            return {}
        found = {}
        for one in self.comparison.contestants:
            spreads = {
                figure: spread(
                    list(self.comparison.figures(one.title, self.clients, figure).values())
                )
                for figure in (_RATE, _P95, _CPU)
            }
            found[one.title] = {
                figure: None if value is None else value.as_dict()
                for figure, value in spreads.items()
            }
        return found


async def run_off(
    comparison: Comparison,
    rivals: Sequence[str],
    subject: Subject,
    say: Say,
    *,
    run: Run = measure_target,
) -> list[RunOff]:
    """Measure ours against the best of the rivals, for each number of clients.

    Where another has the best rate than the shortest tail, ours is measured against both.

    Args:
        comparison: Of all; says who is the best. Who has a fault in it takes no part.
        rivals: Titles of those among whom the best is looked for.
        subject: As in `compare_peers`.
        say: Told every run's line.
        run: Runs one scenario.

    Returns:
        One for each number of clients of the comparison's plan.
    """
    found = []
    for clients in comparison.plan.clients:
        best = _best(comparison, rivals, clients)
        wanted = {OURS, *best.values()}
        some = [one for one in comparison.contestants if one.title in wanted]
        if not best:
            found.append(RunOff(clients, {}, None))
            continue
        say(f"run-off, {clients} clients: {', '.join(one.title for one in some)}")
        plan = replace(comparison.plan, clients=(clients,), rounds=comparison.plan.run_off_rounds)
        measured = await compare_peers(some, subject, plan, say, run=run)
        found.append(RunOff(clients, best, measured))
    return found


def _best(comparison: Comparison, rivals: Sequence[str], clients: int) -> dict[str, str]:
    """Who is the best by its median; nobody where one of INVALID rounds alone might be."""
    best = {}
    for figure, best_of in ((_RATE, max), (_P95, min)):
        valid, medians = set(), {}
        for title in rivals:
            values = comparison.figures(title, clients, figure)
            if values:
                valid.add(title)
            else:
                values = comparison.figures(title, clients, figure, if_invalid=True)
            middle = spread(list(values.values()))
            if middle is not None and title not in comparison.faults:
                medians[title] = middle.value
        if medians and (first := best_of(medians, key=medians.__getitem__)) in valid:
            best[figure] = first
    return best


def run_off_lines(found: Sequence[RunOff], whose: str) -> list[str]:
    """Say in a line for each figure how ours stands beside the best."""
    lines = []
    for one in found:
        for figure, title in one.best.items():
            ratio = one.over_best(figure)
            rounds = 0 if one.comparison is None else one.comparison.plan.rounds
            came = "no VALID round"
            if ratio is not None:
                came = f"{with_ends(ratio.estimate)}, {ratio.rounds} of {rounds} rounds"
            lines.append(
                f"         ours over the best {whose}, {title}, {one.clients} clients, {figure}: "
                f"{came}"
            )
    return lines
