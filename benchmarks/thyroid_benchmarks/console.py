"""The lines that the commands print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thyroid_benchmarks.estimates import Estimate
from thyroid_benchmarks.floor import Floor, Ways
from thyroid_benchmarks.knee import Knee
from thyroid_benchmarks.measure import Measured

_AGREES = {True: "", False: " DIFFERS", None: " (INVALID)"}


def run_line(run: Measured) -> str:
    """Say a run's result in one line."""
    summary = run.summary
    latency = "  ".join(
        f"p{percent:g} {summary.latency_ms[percent].value:.0f} ms"
        for percent in (50.0, 95.0, 99.0)
        if percent in summary.latency_ms
    )
    label = "open loop" if run.scenario.is_open else "closed loop"
    text = (
        f"{run.verdict.word:7}  {run.scenario.name} ({label}): "
        f"{summary.rate_per_s.value:.2f} screenings/s  {latency}"
    )
    if summary.turned_away:
        text += f"  {summary.turned_away_share:.1%} turned away"
    return "\n         ".join([text, *run.verdict.reasons])


def knee_line(found: Knee[Measured]) -> str:
    """Say where the knee lies."""
    above = "" if found.failed_per_s is None else f", {found.failed_per_s:.2f} failed"
    return f"knee     {found.passed_per_s:.2f} requests/s passed{above} ({found.stopped})"


def floor_lines(lowest: Floor) -> str:
    """Say what the floors are."""
    floors: dict[str, Ways | None] = {"networks": lowest, "pipeline": lowest.pipeline}
    lines = []
    for what, ways in floors.items():
        if ways is not None:
            lines += [
                f"floor    {what}, one after another, {lowest.cores} threads: "
                f"{with_ends(ways.sequential_per_s)} cases/s, "
                f"median {with_ends(ways.sequential_ms)} ms",
                f"floor    {what}, {lowest.cores} at once, one thread each: "
                f"{with_ends(ways.parallel_per_s)} cases/s",
            ]
    return "\n".join(lines)


def peer_lines(result: Mapping[str, Any]) -> list[str]:
    """Say how the peers compare, from their part of a result, line by line."""
    rounds = result["rounds"]
    lines = ["peers    medians of the VALID rounds, in brackets their range"]
    for one in result["contestants"]:
        if one["fault"]:
            lines.append(f"         {one['title']}: NOT MEASURED to the end: {one['fault']}")
        lines += [
            f"         {one['title']}, {point['clients']} clients: "
            f"{_ends(point['rate_per_s'])} screenings/s, p95 {_ends(point['p95_ms'])} ms, "
            f"{_ends(point['ratios']['rate_per_s'])} of ours, {point['counted']} of {rounds} rounds"
            for point in one["points"]
            if point["counted"]
        ]
    if result["invalid"]:
        lines.append(f"         {len(result['invalid'])} runs are INVALID: in no figure above")
    return lines


def cross_check_lines(result: Mapping[str, Any]) -> str:
    """Say whether perf_analyzer agrees, from its part of a result."""
    if result["fault"]:
        return f"cross-check was not done: {result['fault']}"
    lines = ["cross-check: perf_analyzer's figures over ours"]
    for point in result["points"]:
        ratios = "  ".join(
            f"{name} {_ends(figure['ratio'])}{_AGREES[figure['agrees']]}"
            for name, figure in point["figures"].items()
        )
        lines += [f"         {point['scenario']['name']}: {ratios}"]
        lines += [f"         {reason}" for reason in point["reasons"]]
    return "\n".join(lines)


def _ends(fields: dict[str, Any] | None) -> str:
    return "?" if fields is None else with_ends(Estimate.from_dict(fields))


def with_ends(estimate: Estimate) -> str:
    """Write an estimate with its interval."""
    low, high = ("?" if end is None else f"{end:.2f}" for end in (estimate.low, estimate.high))
    return f"{estimate.value:.2f} ({low} to {high})"
