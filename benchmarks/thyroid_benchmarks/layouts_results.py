"""What a comparison of layouts says: beside the floor, and beside the best fixed layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from thyroid_benchmarks.console import with_ends
from thyroid_benchmarks.estimates import Estimate, ratio
from thyroid_benchmarks.floor import Floor
from thyroid_benchmarks.layouts_contestants import Layout
from thyroid_benchmarks.peer_figures import Comparison, Ratio, spread
from thyroid_benchmarks.peer_list import OURS

_RATE = "rate_per_s"
_P95 = "p95_ms"


def layouts_document(
    comparison: Comparison, layouts: Sequence[Layout], floor: Floor
) -> dict[str, Any]:
    """Put the figures together for a report.

    Args:
        comparison: What was measured.
        layouts: What each contestant is.
        floor: Measured in the same run.

    Returns:
        What `Comparison.as_dict` says, with every point's share of the floor, ours beside the best
        fixed layout of each round (`best_fixed`), and the floor itself.
    """
    found = comparison.as_dict()
    kinds = {layout.name: layout for layout in layouts}
    for contestant in found["contestants"]:
        contestant["is_fixed"] = kinds[contestant["name"]].is_fixed
        for point in contestant["points"]:
            rate = point[_RATE]
            base = floor_rate(floor, point["clients"])
            share = None if rate is None else ratio(Estimate.from_dict(rate), base)
            point["efficiency"] = None if share is None else share.as_dict()
    return {
        **found,
        "best_fixed": [
            {
                "clients": clients,
                "rate": _dict(over_best_fixed(comparison, layouts, clients, _RATE)),
                "p95": _dict(over_best_fixed(comparison, layouts, clients, _P95)),
            }
            for clients in comparison.plan.clients
        ],
        "floor": floor.as_dict(),
    }


def over_best_fixed(
    comparison: Comparison, layouts: Sequence[Layout], clients: int, figure: str
) -> Ratio | None:
    """Divide our figure by the best fixed layout's of the same round; None without one."""
    wanted = {OURS, *(layout.name for layout in layouts if layout.is_fixed)}
    some = tuple(one for one in comparison.contestants if one.name in wanted)
    return replace(comparison, contestants=some).ours_over_best(clients, figure)


def floor_rate(floor: Floor, clients: int) -> Estimate:
    """The floor that so many clients are measured by: one alone has the cores one after another."""
    return floor.sequential_per_s if clients == 1 else floor.parallel_per_s


def layout_lines(comparison: Comparison, layouts: Sequence[Layout], floor: Floor) -> str:
    """Say the result in a few lines: each layout's rates, and ours beside the best fixed one."""
    lines = []
    for one in comparison.contestants:
        rates = []
        for clients in comparison.plan.clients:
            rate = spread(list(comparison.figures(one.title, clients, _RATE).values()))
            if rate is not None:
                share = ratio(rate, floor_rate(floor, clients)).value
                rates.append(f"{clients}: {with_ends(rate)}/s, {share:.2f} of the floor")
        fault = comparison.faults.get(one.title)
        lines.append(f"{one.title:14} {fault or '; '.join(rates)}")
    for clients in comparison.plan.clients:
        for figure in (_RATE, _P95):
            beside = over_best_fixed(comparison, layouts, clients, figure)
            if beside is not None:
                lines.append(
                    f"{clients} clients: ours over the best fixed, {figure}: "
                    f"{with_ends(beside.estimate)}, {beside.rounds} of {comparison.plan.rounds} "
                    "rounds"
                )
    return "\n".join(lines)


def _dict(value: Ratio | None) -> dict[str, float | None] | None:
    return None if value is None else value.as_dict()
