"""What was aimed at, what was measured, and whether it was met: tables from the results alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thyroid_benchmarks import performance_explanations as explanations
from thyroid_benchmarks.estimates import Estimate
from thyroid_benchmarks.markdown import (
    NONE,
    NOT_JUDGED,
    NOT_MEASURED,
    Document,
    cell,
    find_run,
    share_cell,
    table,
)
from thyroid_benchmarks.peer_list import OURS, TUTORIAL
from thyroid_benchmarks.performance_comparisons import rounds_left, verdicts_at
from thyroid_benchmarks.performance_tables import ALONE, CROWD, above_floor
from thyroid_benchmarks.report import figure

MANY = 8
"""Clients of the targets that are set for many."""
LEAST_SHARE = 0.95
"""Of the best layout's and the best peer's rate, and of the floor."""
MOST_ABOVE_FLOOR_MS = 5.0
LEAST_OVER_TUTORIAL = 1.6
LEAST_CASES_PER_S = 20.0
MOST_GROWTH = 0.03
_MISSED = "**no**"


@dataclass(frozen=True)
class Target:
    """Something that was aimed at.

    Attributes:
        name: What.
        wanted: The bound.
        at_least: Whether the bound is a lower one.
        measured: What came; None where it was not measured, or no VALID run is left to say.
        verdicts: Of the runs behind it.
        decimals: To write.
        unit: To write, after a blank; "" where it has none.
        left: How many rounds are behind it, as it is written; "" where all are.
        why: What explains it where it was missed.
    """

    name: str
    wanted: float
    at_least: bool
    measured: Estimate | None
    verdicts: tuple[str, ...]
    decimals: int = 3
    unit: str = ""
    left: str = ""
    why: str = explanations.NOTHING

    @property
    def is_missed(self) -> bool:
        """Whether it was judged, and not met."""
        return self.met.startswith(_MISSED)

    @property
    def met(self) -> str:
        """Say whether it was met, and whether all of the interval says the same.

        Runs of which none is VALID may not be cited, and so meet nothing.
        """
        if self.measured is None:
            return NOT_JUDGED if "INVALID" in self.verdicts else NOT_MEASURED
        if "VALID" not in self.verdicts:
            return NOT_JUDGED
        meets = self._within(self.measured.value)
        ends = (self.measured.low, self.measured.high)
        # An end that is not known may lie anywhere.
        is_sure = all(end is not None and self._within(end) == meets for end in ends)
        word = "yes" if meets else _MISSED
        return word if is_sure else f"{word}, within the spread"

    def row(self) -> list[str]:
        """Return the line of the table."""
        after = f" {self.unit}" if self.unit else ""
        met = self.met
        came = NONE if met == NOT_JUDGED else NOT_MEASURED
        if self.measured is not None and met != NOT_JUDGED:
            came = f"{cell(self.measured.as_dict(), self.decimals)}{after}{self.left}"
        bound = f"{'at least' if self.at_least else 'at most'} {self.wanted:g}{after}"
        runs = share_cell(self.verdicts)
        return [self.name, bound, came, met, runs]

    def _within(self, value: float) -> bool:
        return value >= self.wanted if self.at_least else value <= self.wanted


def target_table(
    suite: Document, layouts: Document, peers: Document, cross_check: Document, soak: Document
) -> str:
    """Every target with what was measured and whether it was met; and why where it was not.

    Each document is a result that has what it is called by: a suite has runs and floor, a soak the
    run of one, the others the part of that name.
    """
    targets = [
        *_over_best(layouts["layouts"], suite, "the best fixed layout's"),
        *_over_best(peers["peers"], suite, "the best peer's"),
        *_beside_floor(suite),
        *_tails(peers["peers"], suite),
        over_tutorial(peers["peers"], suite),
        _offline(suite),
        *_soak(soak),
        _agreement(cross_check["cross_check"]),
    ]
    head = ["target", "wanted", "measured", "met", "VALID runs"]
    text = table(head, [target.row() for target in targets])
    missed = [f"- {target.name}: {target.why}." for target in targets if target.is_missed]
    return "\n".join([text, "", "Those that were missed:", "", *missed]) if missed else text


def main_figures_table(suite: Document, peers: Document) -> str:
    """The few figures of the README; a dash where no run behind one is VALID."""
    rows = []
    alone, crowd, offline = (find_run(suite, name) for name in (ALONE, CROWD, "offline"))
    floor, knee = suite["floor"], suite["knee"]
    if alone is not None and floor is not None:
        latency = f"{cell(alone['summary']['latency_ms']['50'])} ms"
        beside = f"the networks alone take {cell(floor['sequential_ms'])} ms"
        rows.append(["one client, median latency", *_cited(f"{latency}; {beside}", _words(alone))])
    if crowd is not None:
        came = f"{cell(crowd['summary']['rate_per_s'], 2)} screenings/s"
        tail = f"95% within {cell(crowd['summary']['latency_ms']['95'])} ms"
        rows.append(["8 clients", *_cited(f"{came}, {tail}", _words(crowd))])
    if offline is not None:
        came = f"{cell(offline['summary']['rate_per_s'], 2)} screenings/s"
        rows.append(["offline", *_cited(came, _words(offline))])
    if knee is not None:
        (bound_ms,) = {probe["run"]["scenario"]["bound_ms"] for probe in knee["probes"]}
        what = f"random arrivals, 99% within {figure(bound_ms, 0)} ms"
        verdicts = [probe["run"]["verdict"]["word"] for probe in passing_probes(knee)]
        rows.append([what, *_cited(f"up to {figure(knee['passed_per_s'], 2)}/s", verdicts)])
    compared = [
        *_beside_floor(suite)[:2],
        *_over_best(peers["peers"], suite, "the best peer's"),
        over_tutorial(peers["peers"], suite),
    ]
    for target in compared:
        name, _, came, _, verdicts_cell = target.row()
        rows.append([name, came, verdicts_cell])
    return table(["", "measured", "VALID runs"], rows)


def passing_probes(knee: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the runs behind the rate that passed: those that confirm it, where there are any.

    A run beyond the knee drifts as its queue grows: it speaks against nothing.
    """
    found = [probe for probe in knee["probes"] if probe["rate_per_s"] == knee["passed_per_s"]]
    return [probe for probe in found if probe["confirms"]] or found


def over_tutorial(found: Mapping[str, Any], suite: Document) -> Target:
    """Our rate over that of the ensemble built as tutorials do, with many clients."""
    ratio = None
    for one in found["contestants"]:
        for point in one["points"]:
            if one["name"] == TUTORIAL and point["clients"] == MANY:
                ratio = point["ratios"]["rate_per_s"]
    theirs = _estimate(ratio)
    # The file holds theirs over ours: turned over, the ends change places.
    ours = None
    if theirs is not None:
        low, high = (None if end is None else 1 / end for end in (theirs.high, theirs.low))
        ours = Estimate(1 / theirs.value, low, high)
    return Target(
        f"rate over the tutorial ensemble's, {MANY} clients",
        LEAST_OVER_TUTORIAL,
        True,
        ours,
        tuple(verdicts_at(found, MANY, (OURS, TUTORIAL))),
        decimals=2,
        left=rounds_left(ratio, found),
        why=explanations.of_tutorial(found, suite, MANY),
    )


def _over_best(found: Mapping[str, Any], suite: Document, whose: str) -> list[Target]:
    return [
        Target(
            f"rate over {whose}, {_clients(one['clients'])}",
            LEAST_SHARE,
            True,
            _estimate(one["rate"]),
            tuple(one["verdicts"]),
            left=rounds_left(one["rate"], one),
            why=explanations.of_best(one, suite, "rate"),
        )
        for one in found["best"]
    ]


def _tails(found: Mapping[str, Any], suite: Document) -> list[Target]:
    return [
        Target(
            f"p95 over the best peer's, {_clients(MANY)}",
            1.0,
            False,
            _estimate(one["p95"]),
            tuple(one["verdicts"]),
            left=rounds_left(one["p95"], one),
            why=explanations.of_best(one, suite, "p95"),
        )
        for one in found["best"]
        if one["clients"] == MANY
    ]


def _beside_floor(suite: Document) -> list[Target]:
    """Efficiency alone, efficiency of many, and how far the median is above the floor's."""
    targets = []
    for name, clients in ((ALONE, 1), (CROWD, MANY)):
        run = find_run(suite, name)
        efficiency = None if run is None else _estimate(run["efficiency"])
        label = f"serving efficiency, {_clients(clients)}"
        why = explanations.of_efficiency(suite, clients)
        targets.append(Target(label, LEAST_SHARE, True, efficiency, _words(run), why=why))
    run, floor = find_run(suite, ALONE), suite["floor"]
    above = _estimate(None if run is None or floor is None else above_floor(run, floor))
    label = "p50 of one image above the floor's"
    why = explanations.of_latency(suite, MOST_ABOVE_FLOOR_MS)
    ms = Target(label, MOST_ABOVE_FLOOR_MS, False, above, _words(run), 1, "ms", why=why)
    return [*targets, ms]


def _offline(suite: Document) -> Target:
    run = find_run(suite, "offline")
    rate = None if run is None else _estimate(run["summary"]["rate_per_s"])
    why = explanations.of_offline(suite)
    unit = "screenings/s"
    return Target("rate offline", LEAST_CASES_PER_S, True, rate, _words(run), 2, unit, why=why)


def _soak(soak: Document) -> list[Target]:
    run = find_run(soak, "soak")
    failed = growth = None
    if run is not None:
        failed = _exact(sum(run["summary"]["failures"].values()))
        memory = run["observed"]["memory"]
        growth = None if memory is None else _exact(memory["growth"])
    why, name = explanations.of_soak(soak), "growth of memory in the soak, as a share"
    return [
        Target("failures in the soak", 0, False, failed, _words(run), 0, why=why),
        Target(name, MOST_GROWTH, False, growth, _words(run), why=why),
    ]


def _agreement(found: Mapping[str, Any]) -> Target:
    figures = [
        one
        for point in found["points"]
        for one in point["figures"].values()
        if one["agrees"] is not None
    ]
    differing = _exact(sum(not one["agrees"] for one in figures)) if figures else None
    return Target(
        f"of {len(figures)} figures, those on which perf_analyzer differs by more than "
        f"{found['allowed']:.0%}",
        0,
        False,
        differing,
        tuple(verdict for point in found["points"] for verdict in point["verdicts"]),
        decimals=0,
        why=explanations.of_agreement(found),
    )


def _cited(came: str, verdicts: Sequence[str]) -> tuple[str, str]:
    """Return a figure and the verdicts behind it; without a VALID one it may not be cited."""
    return came if "VALID" in verdicts else NONE, share_cell(verdicts)


def _clients(count: int) -> str:
    return f"{count} client{'' if count == 1 else 's'}"


def _estimate(fields: Mapping[str, Any] | None) -> Estimate | None:
    return None if fields is None or fields["value"] is None else Estimate.from_dict(dict(fields))


def _exact(value: float | None) -> Estimate | None:
    return None if value is None else Estimate(value, value, value)


def _words(run: Mapping[str, Any] | None) -> tuple[str, ...]:
    return () if run is None else (run["verdict"]["word"],)
