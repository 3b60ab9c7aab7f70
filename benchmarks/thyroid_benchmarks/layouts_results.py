"""What a comparison of layouts says: beside the floor, and beside the best fixed layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thyroid_benchmarks.console import with_ends
from thyroid_benchmarks.estimates import Estimate, ratio
from thyroid_benchmarks.floor import Floor
from thyroid_benchmarks.layouts_contestants import Layout
from thyroid_benchmarks.peer_figures import Comparison, spread
from thyroid_benchmarks.run_off import RunOff, run_off_lines

_RATE = "rate_per_s"


def layouts_document(
    comparison: Comparison, best: Sequence[RunOff], layouts: Sequence[Layout], floor: Floor
) -> dict[str, Any]:
    """Put the figures together for a report.

    Args:
        comparison: What was measured.
        best: Ours against the best fixed layout.
        layouts: What each contestant is.
        floor: Measured in the same run.

    Returns:
        What `Comparison.as_dict` says, with every point's share of the floor, ours beside the best
        fixed layout (`best`), and the floor itself.
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
        "best": [one.as_dict() for one in best],
        "floor": floor.as_dict(),
    }


def floor_rate(floor: Floor, clients: int) -> Estimate:
    """The floor that so many clients are measured by: one alone has the cores one after another."""
    return floor.sequential_per_s if clients == 1 else floor.parallel_per_s


def layout_lines(comparison: Comparison, best: Sequence[RunOff], floor: Floor) -> str:
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
    return "\n".join([*lines, *run_off_lines(best, "fixed layout")])
