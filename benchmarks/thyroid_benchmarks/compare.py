"""Compares a result with an earlier one, by ratios."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thyroid_benchmarks.estimates import Estimate, ratio

DEFAULT_ALLOWED = 0.05
_PERCENTILES = ("50", "95", "99")


@dataclass(frozen=True)
class Change:
    """One figure then and now.

    Attributes:
        figure: Which, with its run.
        before: Then.
        after: Now.
        ratio: Now over then, with the widest ends that both intervals allow.
        higher_is_better: Whether more of it is better.
        worse: Whether it is worse by more than is allowed, and not by the measurement's spread.
    """

    figure: str
    before: Estimate
    after: Estimate
    ratio: Estimate
    higher_is_better: bool
    worse: bool


@dataclass(frozen=True)
class Comparison:
    """All figures that both results have.

    Attributes:
        changes: In the order of the newer result.
        warnings: What makes the comparison doubtful: another machine, runs that are INVALID.
    """

    changes: tuple[Change, ...]
    warnings: tuple[str, ...]

    @property
    def worse(self) -> tuple[Change, ...]:
        """The regressions."""
        return tuple(change for change in self.changes if change.worse)


def compare(
    before: Mapping[str, Any], after: Mapping[str, Any], allowed: float = DEFAULT_ALLOWED
) -> Comparison:
    """Compare two results.

    A figure counts as a regression where its ratio is beyond what is allowed *and* the two
    intervals, divided into each other, leave no room for "unchanged". Where a sample was too small
    for an interval there is such room.

    Args:
        before: The earlier document.
        after: The newer one.
        allowed: By how much a figure may be worse, as a share.

    Raises:
        ValueError: They have no figure in common; a comparison of nothing would pass.
    """
    earlier = _figures(before)
    changes = [
        _change(name, *earlier[name], now, allowed)
        for name, (now, _) in _figures(after).items()
        if name in earlier
    ]
    if not changes:
        raise ValueError(
            "the two results have no figure in common; the same scenarios were wanted: run the "
            "same suite for both"
        )
    return Comparison(tuple(changes), tuple(_warnings(before, after)))


def _figures(result: Mapping[str, Any]) -> dict[str, tuple[Estimate, bool]]:
    """Return the figures of a document by name, each with whether more is better."""
    figures: dict[str, tuple[Estimate, bool]] = {}
    if floor := result["floor"]:
        for name in ("sequential_per_s", "parallel_per_s"):
            figures[f"floor, {name.removesuffix('_per_s')}, cases/s"] = _read(floor[name]), True
    for run in result["runs"]:
        name, summary = run["scenario"]["name"], run["summary"]
        if run["scenario"]["loop"] == "closed":
            figures[f"{name}, screenings/s"] = _read(summary["rate_per_s"]), True
        for percent in _PERCENTILES:
            if percent in summary["latency_ms"]:
                latency = _read(summary["latency_ms"][percent])
                figures[f"{name}, p{percent}, ms"] = latency, False
    if knee := result["knee"]:
        # The knee lies between the rates that passed and failed; that is its interval.
        passed = knee["passed_per_s"]
        figures["knee, requests/s"] = Estimate(passed, passed, knee["failed_per_s"]), True
    for best in result.get("peers", {}).get("best_peer", ()):
        # The range over the rounds stands for the interval.
        for figure, better in (("rate", True), ("p95", False)):
            if best[figure]:
                name = f"ours over the best peer, {best['clients']} clients, {figure}"
                figures[name] = _read(best[figure]), better
    return {
        name: (figure, better) for name, (figure, better) in figures.items() if figure.value > 0
    }


def _read(fields: dict[str, Any]) -> Estimate:
    return Estimate.from_dict(fields)


def _change(
    name: str, before: Estimate, higher_is_better: bool, after: Estimate, allowed: float
) -> Change:
    quotient = ratio(after, before)
    if higher_is_better:
        worse = quotient.value < 1 - allowed and quotient.high is not None and quotient.high < 1
    else:
        worse = quotient.value > 1 + allowed and quotient.low is not None and quotient.low > 1
    return Change(name, before, after, quotient, higher_is_better, worse)


def _warnings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    warnings = [
        f"the {name} differs: {before['machine'].get(name)} then, {after['machine'].get(name)} now"
        for name in ("processor", "cores", "memory_bytes")
        if before["machine"].get(name) != after["machine"].get(name)
    ]
    if before["pool"] != after["pool"]:
        warnings.append("the images differ: another pool was sent")
    for when, result in (("then", before), ("now", after)):
        warnings += [
            f"{run['scenario']['name']} was INVALID {when}"
            for run in result["runs"]
            if run["verdict"]["word"] != "VALID"
        ]
    return warnings
