"""The pictures of a report, as SVG text from the figures in its document."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatter

from thyroid_benchmarks.breakdown import BETWEEN, TRANSPORT
from thyroid_benchmarks.memory import BYTES_PER_MB

# Okabe and Ito's colours, which the colour-blind can tell apart.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#F0E442")
_STYLE: Any = {  # rc_context wants the names of all parameters as its type
    "svg.fonttype": "none",
    "svg.hashsalt": "thyroid",  # the same figures give the same bytes
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=_COLOURS),
}
_WIDTH_IN = 8.2
_S_PER_MINUTE = 60
_LABEL_SHARE = 0.07  # of the longest bar; a narrower part has no room for its number
Run = Mapping[str, Any]


def breakdown_plot(runs: Sequence[Run]) -> str | None:
    """Draw one bar for each run whose time was divided; it ends at the mean latency.

    Returns:
        SVG; None where no run was divided.
    """
    runs = [run for run in runs if run["breakdown"]]
    if not runs:
        return None
    names = _part_names(runs)
    colours = dict(zip(names, _COLOURS, strict=False))
    longest_ms = max(run["breakdown"]["end_to_end_ms"] for run in runs)
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(1.2 + 0.55 * len(runs))
        shown: set[str] = set()
        for place, run in enumerate(runs):
            for name, left, width in bar_spans(run["breakdown"]["rows"]):
                label = None if name in shown else name
                shown.add(name)
                hatch = "//" if width < 0 else None
                axes.barh(
                    place,
                    width,
                    left=left,
                    color=colours[name],
                    edgecolor="white",
                    linewidth=0,
                    hatch=hatch,
                    label=label,
                    height=0.6,
                )
                if width > _LABEL_SHARE * longest_ms:
                    axes.text(left + width / 2, place, f"{width:.0f}", ha="center", va="center")
            total_ms = run["breakdown"]["end_to_end_ms"]
            axes.text(total_ms, place, f" {total_ms:.0f} ms", va="center")
        axes.set_yticks(range(len(runs)), [run["scenario"]["name"] for run in runs])
        axes.invert_yaxis()
        axes.margins(x=0.1)
        axes.set_xlabel("mean time of a screening, ms")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        return _svg(figure)


def bar_spans(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, float]]:
    """Lay the parts that count one after another, so that the last of them ends at their sum.

    A part below 0 lies to the left of 0, over what is drawn there of the others.

    Returns:
        For each part its name, where it begins, and its width, which has the part's sign.
    """
    parts = [(row["name"], float(row["mean_ms"])) for row in rows if row["counts"]]
    below = [(name, ms) for name, ms in parts if ms < 0]
    left = sum(ms for _, ms in below)
    spans = []
    for name, ms in parts:
        if ms >= 0:
            spans.append((name, left, ms))
            left += ms
    left = 0.0
    for name, ms in below:
        spans.append((name, left, ms))
        left += ms
    return spans


def percentile_plot(runs: Sequence[Run]) -> str | None:
    """Draw every run's percentiles with their intervals; an open end is drawn without a bar."""
    runs = [run for run in runs if run["summary"]["latency_ms"]]
    if not runs:
        return None
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(3.6)
        for number, run in enumerate(runs):
            latency = {
                name: value
                for name, value in run["summary"]["latency_ms"].items()
                if value["value"] is not None
            }
            places = [index + 0.12 * (number - len(runs) / 2) for index in range(len(latency))]
            values = [value["value"] for value in latency.values()]
            low = [_reach(value, "low") for value in latency.values()]
            high = [_reach(value, "high") for value in latency.values()]
            loop = "" if run["scenario"]["loop"] == "open" else " (closed)"
            axes.errorbar(
                places,
                values,
                yerr=[low, high],
                marker="o",
                linestyle=":",
                capsize=3,
                label=run["scenario"]["name"] + loop,
            )
            axes.set_xticks(range(len(latency)), [f"p{name}" for name in latency])
        _logarithmic(axes)
        axes.set_ylabel("latency, ms")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        return _svg(figure)


def curve_plot(result: Mapping[str, Any]) -> str | None:
    """Draw latency over rate: the knee's probes (open loop) and their bound.

    Returns:
        SVG; None where no knee was searched.
    """
    knee = result["knee"]
    if not knee:
        return None
    # Of a rate that was run twice the longer run, which confirms.
    by_rate = {probe["rate_per_s"]: probe for probe in knee["probes"]}
    probes = [by_rate[rate] for rate in sorted(by_rate)]
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(3.6)
        for percent in ("50", "95", "99"):
            points = [
                (probe["rate_per_s"], probe["run"]["summary"]["latency_ms"][percent])
                for probe in probes
                if probe["run"]["summary"]["latency_ms"][percent]["value"] is not None
            ]
            axes.errorbar(
                [rate for rate, _ in points],
                [value["value"] for _, value in points],
                yerr=[
                    [_reach(value, "low") for _, value in points],
                    [_reach(value, "high") for _, value in points],
                ],
                marker="o",
                capsize=3,
                label=f"p{percent}",
            )
        bound_ms = probes[0]["run"]["scenario"]["bound_ms"]
        if bound_ms is not None:
            axes.axhline(bound_ms, color="black", linestyle="--", linewidth=1, label="bound")
        axes.axvline(knee["passed_per_s"], color="grey", linestyle=":", linewidth=1, label="knee")
        _logarithmic(axes)
        axes.set_xlabel("offered rate, requests per second (Poisson)")
        axes.set_ylabel("latency from the scheduled time, ms")
        figure.legend(loc="outside lower center", ncols=5, frameon=False)
        return _svg(figure)


def memory_plot(runs: Sequence[Run]) -> str | None:
    """Draw the server's resident memory over each run that watched it; None where none did."""
    watched = [run for run in runs if run["observed"].get("memory")]
    if not watched:
        return None
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(3.0)
        for run in watched:
            memory = run["observed"]["memory"]
            axes.plot(
                [moment / _S_PER_MINUTE for moment in memory["time_s"]],
                [size / BYTES_PER_MB for size in memory["resident_bytes"]],
                label=run["scenario"]["name"],
            )
            settled = memory["settle_s"] / _S_PER_MINUTE
            axes.axvline(settled, color="grey", linestyle=":", linewidth=1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("minutes; dotted: from where it counts")
        axes.set_ylabel("resident memory, MB")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        return _svg(figure)


def peer_plot(peers: Mapping[str, Any], figure_name: str, label: str) -> str | None:
    """Draw one figure of every contestant by number of clients: medians and the rounds' range.

    Args:
        peers: The part `peers` of a result.
        figure_name: Such as `rate_per_s`.
        label: Of the axis.

    Returns:
        SVG; None where nothing was measured.
    """
    measured = [
        one for one in peers["contestants"] if any(point["counted"] for point in one["points"])
    ]
    if not measured:
        return None
    height = 0.8 / len(peers["clients"])
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(1.2 + 0.5 * len(measured))
        for number in range(len(peers["clients"])):
            for place, one in enumerate(measured):
                value = one["points"][number][figure_name]
                if value is None:
                    continue
                axes.barh(
                    place + (number - (len(peers["clients"]) - 1) / 2) * height,
                    value["value"],
                    xerr=[[_reach(value, "low")], [_reach(value, "high")]],
                    height=height,
                    color=_COLOURS[number % len(_COLOURS)],
                    ecolor="black",
                    capsize=2,
                )
        axes.set_yticks(range(len(measured)), [one["title"] for one in measured])
        axes.invert_yaxis()
        axes.set_xlabel(label)
        handles = [
            Patch(color=_COLOURS[number % len(_COLOURS)], label=f"{clients} clients")
            for number, clients in enumerate(peers["clients"])
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
        return _svg(figure)


def _part_names(runs: Sequence[Run]) -> list[str]:
    """Return the names of the parts in the order of the way, what is no model last."""
    models = [row["name"] for run in runs for row in run["breakdown"]["rows"] if row["mean_batch"]]
    return [*dict.fromkeys(models), BETWEEN, TRANSPORT]


def _reach(value: Mapping[str, float | None], end: str) -> float:
    """Return how far an end of the interval is from the value; 0 where it is open."""
    centre, limit = value["value"], value[end]
    return 0.0 if centre is None or limit is None else abs(limit - centre)


def _figure(height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    return figure, axes


def _logarithmic(axes: Axes) -> None:
    """Scale latencies by decades, with plain numbers also between them where there is room."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    # The page is HTML: no XML declaration, no document type.
    return text[text.index("<svg") :]
