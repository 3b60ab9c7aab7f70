"""Plots of what stands around the answer: the out-of-distribution gate and the evidence."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from thyroid_pipeline import contract
from thyroid_training.cross_validation_results import CrossValidation, OutOfDistribution
from thyroid_training.explanation_figures import Explanations, explanation_intervals, mean_curve
from thyroid_training.ood_figures import ood_auroc_interval
from thyroid_training.plots import BAND_ALPHA, CHANCE_COLOUR, COLOURS, plot

_COLUMNS = 3
# Scores are scaled to the limit; what is further out than this many limits is out.
_MOST_LIMITS = 4.0
_BINS = np.linspace(0, _MOST_LIMITS * contract.OOD_LIMIT, 41)


def draw(results: CrossValidation, folder: Path) -> list[Path]:
    """Write `out_of_distribution.png` and `explanation.png`, as far as they were measured.

    Args:
        results: Of the cross-validation.
        folder: That exists.

    Returns:
        The files written.
    """
    files = []
    if results.out_of_distribution is not None:
        files.append(folder / "out_of_distribution.png")
        _draw_gate(results.out_of_distribution, files[-1])
    if results.explanations is not None:
        files.append(folder / "explanation.png")
        _draw_curves(results.explanations, files[-1])
    return files


def _draw_gate(gate: OutOfDistribution, path: Path) -> None:
    rows = -(-len(gate.foreign) // _COLUMNS)
    columns = min(_COLUMNS, len(gate.foreign))
    with plot(path, 3.4 * columns + 0.4, 2.7 * rows + 0.9) as figure:
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, foreign in zip(panels.ravel(), gate.foreign, strict=False):
            for pictures, colour, dash, label in (
                (gate.inside, COLOURS[0], "-", gate.inside.name),
                (foreign, COLOURS[1], "--", "foreign pictures"),
            ):
                counts = np.histogram(np.minimum(pictures.scores, _BINS[-1]), _BINS)[0]
                shares = counts / pictures.scores.size
                axes.stairs(shares, _BINS, color=colour, fill=True, alpha=BAND_ALPHA)
                axes.stairs(shares, _BINS, color=colour, linestyle=dash, linewidth=1.6, label=label)
            axes.axvline(
                contract.OOD_LIMIT, color="black", linewidth=1, linestyle=":", label="limit"
            )
            area = ood_auroc_interval(gate.inside, foreign)
            axes.set_title(f"{foreign.name}\nAUROC {area.estimate:.3f}")
            axes.set_xlim(0, _BINS[-1])
        for axes in panels.ravel()[len(gate.foreign) :]:
            axes.set_axis_off()
        figure.supxlabel(
            f"out-of-distribution score (from {_BINS[-1]:g} on in the last bar)", fontsize=10
        )
        figure.supylabel("share of pictures", fontsize=10)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3)


def _draw_curves(explanations: Explanations, path: Path) -> None:
    areas = explanation_intervals(explanations)
    with plot(path, 8.6, 4.2) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, name, action in zip(
            panels, ("deletion", "insertion"), ("blurred", "brought back into focus"), strict=True
        ):
            for curve, colour, dash, label in (
                (name, COLOURS[1], "-", "strongest evidence first"),
                (f"random_{name}", CHANCE_COLOUR, "--", "random order"),
            ):
                mean, (low, high) = mean_curve(explanations.groups, explanations.curves[curve])
                area = areas[f"{curve}_area"].estimate
                axes.fill_between(
                    explanations.shares, low, high, color=colour, alpha=BAND_ALPHA, linewidth=0
                )
                axes.plot(
                    explanations.shares,
                    mean,
                    color=colour,
                    linestyle=dash,
                    label=f"{label}: area {area:.3f}",
                )
            axes.set(title=name.capitalize(), xlabel=f"share of the region {action}", xlim=(0, 1))
            axes.legend(loc="best")
        panels[0].set_ylabel("mean malignancy, 95% interval over patients")
