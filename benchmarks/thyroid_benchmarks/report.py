"""`report.html`: one self-contained page from a result document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from thyroid_benchmarks.breakdown import ROW_PARTS
from thyroid_benchmarks.layouts_plots import layouts_plot
from thyroid_benchmarks.plots import (
    breakdown_plot,
    curve_plot,
    memory_plot,
    peer_plot,
    percentile_plot,
)

_NONE = "\N{EN DASH}"


def render_report(result: Mapping[str, Any]) -> str:
    """Write the page of a result document; pictures are drawn into it."""
    environment = Environment(
        loader=PackageLoader("thyroid_benchmarks"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure
    environment.filters["interval"] = interval
    peers = result.get("peers")
    pictures = {
        "breakdown": breakdown_plot(result["runs"]),
        "percentiles": percentile_plot(result["runs"]),
        "curve": curve_plot(result),
        "memory": memory_plot(result["runs"]),
        "peer_rates": peers and peer_plot(peers, "rate_per_s", "screenings per second"),
        "peer_latencies": peers and peer_plot(peers, "p95_ms", "95th percentile of latency, ms"),
        "layouts": layouts_plot(result.get("layouts")),
    }
    return environment.get_template("benchmarks.html").render(
        result=result,
        peers=peers,
        cross_check=result.get("cross_check"),
        pictures={name: svg and Markup(svg) for name, svg in pictures.items()},
        row_parts=ROW_PARTS,
        invalid=[run for run in result["runs"] if run["verdict"]["word"] != "VALID"],
    )


def figure(value: float | None, decimals: int = 1) -> str:
    """Format a number; a dash where there is none."""
    return _NONE if value is None else f"{value:,.{decimals}f}"


def interval(estimate: Mapping[str, float | None] | None, decimals: int = 1) -> str:
    """Format an estimate with its interval; an end that is not known is a dash."""
    if estimate is None or estimate["value"] is None:
        return _NONE
    low, high = (figure(estimate[end], decimals) for end in ("low", "high"))
    return f"{figure(estimate['value'], decimals)} ({low} to {high})"
