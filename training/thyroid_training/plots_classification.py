"""Plots of a classifier: what it can tell apart, and what its probabilities are worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from thyroid_training import weighted_metrics as metrics
from thyroid_training.bootstrap import Weights, percentile_bounds, resample_weights
from thyroid_training.classification_scores import ClassificationScores, Classifier
from thyroid_training.cross_validation_results import CrossValidation
from thyroid_training.plots import (
    BAND_ALPHA,
    BENIGN_COLOUR,
    CHANCE_COLOUR,
    COLOURS,
    DASHES,
    MALIGNANT_COLOUR,
    plot,
    unit_square,
)

_RATES = np.linspace(0, 1, 101)
_MARKERS = ("o", "s", "^", "D", "v", "P")
_HISTOGRAM_BINS = np.linspace(0, 1, 26)


def draw(results: CrossValidation, folder: Path) -> list[Path]:
    """Write `roc.png` and `reliability.png`.

    Args:
        results: Of the cross-validation.
        folder: That exists.

    Returns:
        The files written.
    """
    shown = (
        results.classifier(results.served.classifier) if results.served else results.classifiers[0]
    )
    others = [row for row in results.classifiers if row is not shown]
    files = [folder / "roc.png", folder / "reliability.png"]
    _draw_roc([shown, *others], files[0])
    _draw_reliability(shown, files[1])
    return files


def _draw_roc(classifiers: list[Classifier], path: Path) -> None:
    with plot(path, 6.4, 6.8) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=CHANCE_COLOUR, linewidth=1, label="chance")
        for row, colour, dash in zip(classifiers, COLOURS, DASHES, strict=False):
            scores = row.scores
            curve = _mean_roc(scores, np.ones((1, len(scores.ids))))[0]
            ones = np.ones((1, len(scores.ids)))
            areas = [metrics.auroc(scores.labels, of_seed, ones)[0] for of_seed in scores.scores]
            label = f"{row.name}: AUROC {np.mean(areas):.3f}"
            axes.plot(_RATES, curve, color=colour, linestyle=dash, label=label)
        _draw_band(axes, classifiers[0])
        _draw_points(axes, classifiers[0])
        unit_square(
            axes,
            "1 - specificity: share of benign images called malignant",
            "sensitivity: share of malignant images called so",
        )
        figure.legend(loc="outside lower center")


def _mean_roc(scores: ClassificationScores, weights: Weights) -> Weights:
    """Sensitivity at `_RATES`, averaged over seeds: FP64 [resamples, len(_RATES)]."""
    curves = [
        metrics.roc_sensitivities(scores.labels, of_seed, weights, _RATES)
        for of_seed in scores.scores
    ]
    return np.asarray(np.mean(curves, axis=0))


def _draw_band(axes: Axes, row: Classifier) -> None:
    scores = row.scores
    drawn = _mean_roc(scores, resample_weights(scores.groups, scores.labels))
    low, high = np.array([percentile_bounds(column) for column in drawn.T]).T
    axes.fill_between(
        _RATES,
        low,
        high,
        color=COLOURS[0],
        alpha=BAND_ALPHA,
        linewidth=0,
        label=f"{row.name}: 95% interval over patients",
    )


def _draw_points(axes: Axes, row: Classifier) -> None:
    ones = np.ones((1, len(row.scores.ids)))
    for calls, marker in zip(row.calls, _MARKERS, strict=False):
        figures = [metrics.call_figures(row.scores.labels, seed, ones) for seed in calls.calls]
        axes.plot(
            1 - np.mean([figure["specificity"] for figure in figures]),
            np.mean([figure["sensitivity"] for figure in figures]),
            marker,
            color=COLOURS[0],
            markeredgecolor="white",
            markersize=9,
            clip_on=False,
            label=f"{row.name}: {calls.name}, threshold out of fold",
        )


def _draw_reliability(row: Classifier, path: Path) -> None:
    scores = row.scores
    seeds = len(scores.scores)
    pooled, labels = scores.scores.ravel(), np.tile(scores.labels, seeds)
    member = metrics.calibration_bins(pooled)
    weights = np.tile(resample_weights(scores.groups, scores.labels), seeds)
    with plot(path, 6.4, 7.6) as figure:
        upper, lower = figure.subplots(2, 1, height_ratios=(2.4, 1), sharex=True)
        upper.plot([0, 1], [0, 1], color=CHANCE_COLOUR, linewidth=1, label="perfectly calibrated")
        for number, of_bin in enumerate(np.unique(member)):
            inside = member == of_bin
            share, mean = labels[inside].mean(), pooled[inside].mean()
            low, high = percentile_bounds(_shares(weights[:, inside], labels[inside]))
            upper.errorbar(
                mean,
                share,
                [[max(0.0, share - low)], [max(0.0, high - share)]],
                fmt="o",
                color=COLOURS[0],
                capsize=2,
                linewidth=1.2,
                label="images of one bin, 95% interval over patients" if number == 0 else None,
            )
            upper.annotate(
                f"{inside.sum() / seeds:.0f}",
                (mean, 0.02 + 0.05 * (number % 2)),
                ha="center",
                fontsize=8,
                color=CHANCE_COLOUR,
            )
        upper.annotate("images in each bin:", (0.0, 0.12), fontsize=8, color=CHANCE_COLOUR)
        unit_square(upper, "", "share of images graded malignant")
        upper.set_aspect("auto")
        upper.legend(loc="upper left")
        upper.set_title(row.name)
        for label, colour, dash, name in (
            (1, MALIGNANT_COLOUR, "-", "graded malignant"),
            (0, BENIGN_COLOUR, "--", "graded benign"),
        ):
            counts = np.histogram(pooled[labels == label], _HISTOGRAM_BINS)[0] / seeds
            lower.stairs(counts, _HISTOGRAM_BINS, color=colour, fill=True, alpha=BAND_ALPHA)
            lower.stairs(
                counts, _HISTOGRAM_BINS, color=colour, linestyle=dash, linewidth=1.6, label=name
            )
        lower.set(xlabel="calibrated malignancy, out of fold", ylabel="images for each 0.04")
        lower.legend(loc="upper left")


def _shares(weights: Weights, labels: metrics.Labels) -> metrics.Figures:
    """Share of malignant samples in each resample that holds any of them."""
    total = weights.sum(axis=1)
    return np.asarray((weights @ labels)[total > 0] / total[total > 0])
