"""The picture of a comparison of layouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl

from thyroid_benchmarks.peer_list import OURS
from thyroid_benchmarks.plots import _STYLE, _figure, _reach, _svg

_SPREAD = 0.22  # between the points of one row, in rows


def layouts_plot(section: Mapping[str, Any] | None) -> str | None:
    """Draw each layout's rate over ours, with the spread of the rounds, by number of clients.

    Args:
        section: From `layouts_results.layouts_document`; None where nothing was compared.

    Returns:
        SVG; None where no layout was measured beside ours.
    """
    rows = [
        (one["title"], one["points"])
        for one in (section["contestants"] if section else [])
        if one["name"] != OURS and any(point["ratios"]["rate_per_s"] for point in one["points"])
    ]
    if section is None or not rows:
        return None
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(1.4 + 0.45 * len(rows))
        for number, clients in enumerate(section["clients"]):
            shift = _SPREAD * (number - (len(section["clients"]) - 1) / 2)
            found = [
                (place + shift, points[number]["ratios"]["rate_per_s"])
                for place, (_, points) in enumerate(rows)
                if points[number]["ratios"]["rate_per_s"] is not None
            ]
            axes.errorbar(
                [ratio["value"] for _, ratio in found],
                [place for place, _ in found],
                xerr=[
                    [_reach(ratio, "low") for _, ratio in found],
                    [_reach(ratio, "high") for _, ratio in found],
                ],
                marker="o",
                linestyle="none",
                capsize=3,
                label=f"{clients} client{'' if clients == 1 else 's'}",
            )
        axes.axvline(1.0, color="black", linestyle="--", linewidth=1, label=OURS)
        axes.set_yticks(range(len(rows)), [title for title, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("screenings per second, over ours in the same round")
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
        return _svg(figure)
