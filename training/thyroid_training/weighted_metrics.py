"""Figures of a classifier over many weightings of the same samples at once.

scikit-learn gives the same figures for one weighting in about a millisecond each; an interval of
2,000 resamples over several seeds would take an hour. Here each is a few matrix products over all
resamples. The tests hold every one of them to scikit-learn's.

Throughout: `labels` INT64 [N], 1 malignant and 0 benign; `scores` FP64 [N]; `calls` bool [N];
`weights` FP64 [R, N], at least 0, of which each row weighs both classes above 0; figures FP64 [R].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_training.bootstrap import Weights

CALIBRATION_BINS = 10
"""Bins of equal mass: some 35 of DDTI's 346 graded images each, six of them benign. Bins of equal
width would leave most of them in the upper two."""

Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
Figures = npt.NDArray[np.float64]


def auroc(labels: Labels, scores: Scores, weights: Weights) -> Figures:
    """Area under the ROC curve: the chance that a malignant sample outscores a benign one.

    Equal scores count one half (Hanley and McNeil, Radiology 143, 1982).
    """
    malignant, benign = _by_score(labels, scores, weights)
    below = np.cumsum(benign, axis=1) - benign
    pairs = malignant.sum(axis=1) * benign.sum(axis=1)
    return np.asarray((malignant * (below + benign / 2)).sum(axis=1) / pairs)


def average_precision(labels: Labels, scores: Scores, weights: Weights) -> Figures:
    """Precision at each score, weighted by the sensitivity gained there, without interpolation."""
    malignant, benign = (part[:, ::-1] for part in _by_score(labels, scores, weights))
    found = np.cumsum(malignant, axis=1)
    called = found + np.cumsum(benign, axis=1)
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    return np.asarray((malignant * precision).sum(axis=1) / malignant.sum(axis=1))


def _by_score(labels: Labels, scores: Scores, weights: Weights) -> tuple[Weights, Weights]:
    """Weight of malignant and of benign samples at each distinct score, ascending: [R, U] each."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    in_order = weights[:, order]
    malignant = np.add.reduceat(in_order * (labels[order] == 1), starts, axis=1)
    benign = np.add.reduceat(in_order * (labels[order] == 0), starts, axis=1)
    return malignant, benign


def call_figures(
    labels: Labels, calls: npt.NDArray[np.bool_], weights: Weights
) -> dict[str, Figures]:
    """What yes-or-no answers are worth; malignant is the positive class.

    F1 is 0 where nothing is called malignant, and the Matthews correlation is 0 where all calls are
    alike, as in scikit-learn.
    """
    positive, negative = labels == 1, labels == 0
    tp, fn = weights @ (positive & calls), weights @ (positive & ~calls)
    fp, tn = weights @ (negative & calls), weights @ (negative & ~calls)
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
    spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return {
        "f1": 2 * tp / (2 * tp + fp + fn),
        "accuracy": (tp + tn) / (tp + fn + fp + tn),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "mcc": np.divide(tp * tn - fp * fn, spread, out=np.zeros_like(spread), where=spread > 0),
    }


def brier_score(labels: Labels, scores: Scores, weights: Weights) -> Figures:
    """Mean squared distance of the probabilities from the labels."""
    return np.asarray(weights @ (scores - labels) ** 2 / weights.sum(axis=1))


def calibration_bins(scores: Scores, bins: int = CALIBRATION_BINS) -> npt.NDArray[np.int64]:
    """Bin of each score, INT64 [N]: between quantiles; equal scores share one, some may be empty.

    The edges are those of scikit-learn's `calibration_curve` with strategy "quantile".
    """
    edges = np.quantile(scores, np.linspace(0, 1, bins + 1))
    return np.searchsorted(edges[1:-1], scores)


def calibration_error(
    labels: Labels, scores: Scores, weights: Weights, bins: int = CALIBRATION_BINS
) -> Figures:
    """Expected calibration error (Guo et al., arXiv 1706.04599), on bins of equal mass.

    The mean over bins, by their mass, of |share malignant - mean probability|. The bins are those
    of the unweighted samples. Chance alone makes it larger than 0, and more so in a resample:
    `calibration_error_by_chance` says by how much.
    """
    member = _membership(scores, bins)
    off = weights @ (member * (scores - labels)[:, None])  # [R, bins]
    return np.asarray(np.abs(off).sum(axis=1) / weights.sum(axis=1))


def calibration_error_by_chance(
    scores: Scores, *, draws: int, seed: int, bins: int = CALIBRATION_BINS
) -> float:
    """Calibration error that these very scores would show on average, were they the true odds."""
    chance = np.random.default_rng(seed).random((draws, len(scores)))
    off = (scores - (chance < scores)) @ _membership(scores, bins)  # [draws, bins]
    return float(np.abs(off).sum(axis=1).mean() / len(scores))


def _membership(scores: Scores, bins: int) -> npt.NDArray[np.float64]:
    return np.eye(bins)[calibration_bins(scores, bins)]


@dataclass(frozen=True)
class RocBand:
    """Sensitivity over false positive rate, with the bounds of the resamples.

    Attributes:
        false_positive_rate: FP64 [P], 0 to 1, ascending.
        sensitivity: FP64 [P], the curve of the samples as they are.
        low: FP64 [P], lower bound at each rate.
        high: FP64 [P], upper bound.
    """

    false_positive_rate: npt.NDArray[np.float64]
    sensitivity: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


def roc_sensitivities(
    labels: Labels, scores: Scores, weights: Weights, rates: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Sensitivity at given false positive rates, FP64 [R, P], along the straight-edged ROC."""
    malignant, benign = (part[:, ::-1] for part in _by_score(labels, scores, weights))
    found = np.cumsum(malignant, axis=1) / malignant.sum(axis=1, keepdims=True)
    false = np.cumsum(benign, axis=1) / benign.sum(axis=1, keepdims=True)
    start = np.zeros((len(weights), 1))
    found, false = np.hstack([start, found]), np.hstack([start, false])
    return np.array([np.interp(rates, x, y) for x, y in zip(false, found, strict=True)])
