"""Compares a result with an earlier one, by ratios."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from thyroid_benchmarks.estimates import Estimate, ratio
from thyroid_benchmarks.peer_list import OURS, TUTORIAL
from thyroid_benchmarks.performance_targets import passing_probes

DEFAULT_ALLOWED = 0.05
_PERCENTILES = ("50", "95", "99")
_EFFICIENCIES = {
    "efficiency": "serving efficiency",
    "pipeline_efficiency": "rate over the whole pipeline's",
}
_BEST = (("peers", "peer"), ("layouts", "fixed layout"))


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

    A run that is INVALID in either is not compared. Where the machines differ only shares and
    ratios are, each measured within one run on one machine: nothing else carries over.

    Args:
        before: The earlier document.
        after: The newer one.
        allowed: By how much a figure may be worse, as a share.

    Raises:
        ValueError: They have no figure in common; a comparison of nothing would pass.
    """
    machines = _machine_differences(before, after)
    earlier = _figures(before)
    changes = [
        _change(figure.name, earlier[figure.name], figure, allowed)
        for figure in _figures(after).values()
        if figure.name in earlier and (figure.carries or not machines)
    ]
    if not changes:
        raise ValueError(
            f"the two results have no {'ratio' if machines else 'figure'} in common of runs that "
            "are VALID in both; the same scenarios or comparisons were wanted: run the same suite "
            "for both, on a machine with nothing else at work"
        )
    return Comparison(tuple(changes), (*machines, *_warnings(before, after)))


@dataclass(frozen=True)
class _Figure:
    """A figure of a document; `carries` where it means the same on another machine."""

    name: str
    value: Estimate
    higher_is_better: bool
    carries: bool


def _figures(result: Mapping[str, Any]) -> dict[str, _Figure]:
    """Return the figures of a document by name."""
    figures = [*_scenarios(result), *_comparisons(result)]
    return {one.name: one for one in figures if one.value.value > 0}


def _scenarios(result: Mapping[str, Any]) -> Iterator[_Figure]:
    """The figures of floor, runs and knee."""
    if floor := result["floor"]:
        for name in ("sequential_per_s", "parallel_per_s"):
            title = f"floor, {name.removesuffix('_per_s')}, cases/s"
            yield _Figure(title, _read(floor[name]), True, carries=False)
    for run in (run for run in result["runs"] if _is_valid(run)):
        name, summary = run["scenario"]["name"], run["summary"]
        if run["scenario"]["loop"] == "closed":
            rate = _read(summary["rate_per_s"])
            yield _Figure(f"{name}, screenings/s", rate, True, carries=False)
        for percent in _PERCENTILES:
            if percent in summary["latency_ms"]:
                latency = _read(summary["latency_ms"][percent])
                yield _Figure(f"{name}, p{percent}, ms", latency, False, carries=False)
        for field, title in _EFFICIENCIES.items():
            if run[field]:
                yield _Figure(f"{name}, {title}", _read(run[field]), True, carries=True)
    knee = result["knee"]
    if knee and all(_is_valid(probe["run"]) for probe in passing_probes(knee)):
        # The knee lies between the rates that passed and failed; that is its interval.
        passed = knee["passed_per_s"]
        value = Estimate(passed, passed, knee["failed_per_s"])
        yield _Figure("knee, requests/s", value, True, carries=False)


def _comparisons(result: Mapping[str, Any]) -> Iterator[_Figure]:
    """The ratios of peers and layouts, of VALID rounds; their range stands for an interval."""
    for part, whose in _BEST:
        for one in result.get(part, {}).get("best", ()):
            for field, better in (("rate", True), ("p95", False)):
                if one[field]:
                    name = f"ours over the best {whose}, {one['clients']} clients, {field}"
                    yield _Figure(name, _read(one[field]), better, carries=True)
    for one in result.get("layouts", {}).get("contestants", ()):
        for point in one["points"]:
            if one["name"] == OURS and point["efficiency"]:
                name = f"layouts, ours, {point['clients']} clients, share of the floor"
                yield _Figure(name, _read(point["efficiency"]), True, carries=True)
    for one in result.get("peers", {}).get("contestants", ()):
        for point in one["points"]:
            ratio_to_ours = point["ratios"]["rate_per_s"]
            if one["name"] == TUTORIAL and ratio_to_ours:
                # The file holds theirs over ours, of which less is better for us.
                name = f"the tutorial's ensemble over ours, {point['clients']} clients, rate"
                yield _Figure(name, _read(ratio_to_ours), False, carries=True)


def _is_valid(run: Mapping[str, Any]) -> bool:
    return bool(run["verdict"]["word"] == "VALID")


def _read(fields: dict[str, Any]) -> Estimate:
    return Estimate.from_dict(fields)


def _change(name: str, before: _Figure, after: _Figure, allowed: float) -> Change:
    quotient = ratio(after.value, before.value)
    if after.higher_is_better:
        worse = quotient.value < 1 - allowed and quotient.high is not None and quotient.high < 1
    else:
        worse = quotient.value > 1 + allowed and quotient.low is not None and quotient.low > 1
    return Change(name, before.value, after.value, quotient, after.higher_is_better, worse)


def _machine_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        f"the {name} differs: {before['machine'].get(name)} then, {after['machine'].get(name)} "
        "now; only shares and ratios are compared"
        for name in ("processor", "cores", "memory_bytes")
        if before["machine"].get(name) != after["machine"].get(name)
    )


def _warnings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    warnings = []
    if before["pool"] != after["pool"]:
        warnings.append("the images differ: another pool was sent")
    for when, result in (("then", before), ("now", after)):
        warnings += [
            f"{run['scenario']['name']} was INVALID {when} and is not compared"
            for run in result["runs"]
            if not _is_valid(run)
        ]
        warnings += [
            f"{part}: {len(result[part]['invalid'])} runs were INVALID {when} and are in no ratio"
            for part in ("peers", "layouts")
            if part in result and result[part]["invalid"]
        ]
    return warnings
