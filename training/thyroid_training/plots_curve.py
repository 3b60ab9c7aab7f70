"""The curve of accuracy against time as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from thyroid_training.plots import CHANCE_COLOUR, COLOURS, DASHES, plot

Row = Mapping[str, Any]


def draw_accuracy_curve(document: Mapping[str, Any], path: Path) -> None:
    """Draw Dice over TransUNet's time and AUROC over ResNet-18's, the shipped ones ringed.

    Args:
        document: `accuracy_curve.json`, read, with times.
        path: Of the PNG.

    Raises:
        ValueError: There are no times.
    """
    if "times" not in document:
        raise ValueError(
            "the document has no `times`; those of benchmarks/accuracy_curve.py were wanted: run "
            "that on it first"
        )
    with plot(path, 9.6, 4.2) as figure:
        left, right = figure.subplots(1, 2)
        _draw(left, document, document["segmentation"], "dice_mean", "side_")
        _draw_folds(left, document)
        _draw(right, document, document["classification"], "auroc", "region_")
        folds = max((row["dice_mean_by_fold"] for row in document["segmentation"]), key=len)
        left.set(
            title="TransUNet",
            ylabel=f"mean Dice out of fold (folds {', '.join(folds)})",
        )
        right.set(title="ResNet-18, regions by outlines", ylabel="AUROC out of fold")
        for axes in (left, right):
            axes.set_xlabel("median time of one image, ms")
            axes.set_xlim(left=0)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def _draw(
    axes: Axes, document: Mapping[str, Any], rows: Sequence[Row], figure: str, by_side: str
) -> None:
    """One line by number of threads over the sides, and points for what differs otherwise."""
    for threads, colour, dash in zip(document["times"]["threads"], COLOURS, DASHES, strict=False):
        label = f"{threads} thread{'' if threads == 1 else 's'}"
        timed = [
            (time_ms, row)
            for row in sorted(rows, key=lambda row: row["side_px"])
            if (time_ms := _time(document, row, threads)) is not None
        ]
        for is_side in (True, False):
            part = [one for one in timed if one[1]["name"].startswith(by_side) is is_side]
            if not part:
                continue
            axes.errorbar(
                [time_ms for time_ms, _ in part],
                [row[figure]["estimate"] for _, row in part],
                yerr=[[_reach(row[figure], end) for _, row in part] for end in ("low", "high")],
                color=colour,
                linestyle=dash if is_side else "none",
                marker="o" if is_side else "s",
                capsize=2,
                elinewidth=0.8,
                label=label if is_side else None,
            )
        for time_ms, row in timed:
            value = row[figure]["estimate"]
            if row["shipped"]:
                first = threads == document["times"]["threads"][0]
                axes.plot(
                    time_ms,
                    value,
                    marker="o",
                    markersize=13,
                    markerfacecolor="none",
                    markeredgecolor="black",
                    linestyle="none",
                    label="shipped" if first else None,
                )
            text = str(row["side_px"]) if row["name"].startswith(by_side) else row["name"]
            axes.annotate(
                text + _lacking(row, rows),
                (time_ms, value),
                (5, 7),
                textcoords="offset points",
                fontsize=8,
                color=colour,
            )


def _lacking(row: Row, rows: Sequence[Row]) -> str:
    """Which folds a mean is of, where another one's is of more."""
    folds = row.get("dice_mean_by_fold", {})
    most = max(len(other.get("dice_mean_by_fold", {})) for other in rows)
    return f" (fold {', '.join(folds)} alone)" if len(folds) < most else ""


def _draw_folds(axes: Axes, document: Mapping[str, Any]) -> None:
    """Each fold's own mean as a faint point at the first number of threads."""
    threads = document["times"]["threads"][0]
    points = [
        (time_ms, dice)
        for row in document["segmentation"]
        if (time_ms := _time(document, row, threads)) is not None
        for dice in row["dice_mean_by_fold"].values()
    ]
    times_ms, dices = zip(*points, strict=True) if points else ((), ())
    axes.plot(
        times_ms, dices, color=CHANCE_COLOUR, marker="_", linestyle="none", label="single folds"
    )


def _time(document: Mapping[str, Any], row: Row, threads: int) -> float | None:
    value = document["times"]["median_ms"].get(row["name"], {}).get(str(threads))
    return None if value is None else float(value["value"])


def _reach(value: Row, end: str) -> float:
    return 0.0 if value[end] is None else abs(value[end] - value["estimate"])
