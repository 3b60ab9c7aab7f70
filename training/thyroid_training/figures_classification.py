"""What a classifier's scores and calls are worth, with intervals over patients."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from thyroid_pipeline.contract import Decision
from thyroid_training import weighted_metrics as metrics
from thyroid_training.bootstrap import RESAMPLES, SEED, Interval, Weights, group_intervals
from thyroid_training.classification_scores import Calls, ClassificationScores, Classifier

Values = dict[str, npt.NDArray[np.float64]]


def score_intervals(scores: ClassificationScores) -> dict[str, Interval]:
    """Figures that need no threshold.

    Args:
        scores: Of one classifier.

    Returns:
        `auroc`, `average_precision`, `brier_score` and `calibration_error`, averaged over seeds.
    """
    return _intervals(scores, lambda weights: _score_values(scores, weights))


def _score_values(scores: ClassificationScores, weights: Weights) -> Values:
    return _mean_over_seeds(
        {
            "auroc": metrics.auroc(scores.labels, row, weights),
            "average_precision": metrics.average_precision(scores.labels, row, weights),
            "brier_score": metrics.brier_score(scores.labels, row, weights),
            "calibration_error": metrics.calibration_error(scores.labels, row, weights),
        }
        for row in scores.scores
    )


def call_intervals(scores: ClassificationScores, calls: Calls) -> dict[str, Interval]:
    """Figures of yes-or-no answers.

    Args:
        scores: The images.
        calls: Answers for them.

    Returns:
        `f1`, `accuracy`, `balanced_accuracy`, `sensitivity`, `specificity` and `mcc`, averaged over
        seeds.
    """
    return _intervals(scores, lambda weights: _call_values(scores, calls, weights))


def _call_values(scores: ClassificationScores, calls: Calls, weights: Weights) -> Values:
    return _mean_over_seeds(
        metrics.call_figures(scores.labels, row, weights) for row in calls.calls
    )


def difference_intervals(one: Classifier, other: Classifier) -> dict[str, dict[str, Interval]]:
    """By how much a classifier exceeds another on the same images.

    Both are resampled together, so that what all classifiers find hard cancels out: the interval is
    narrower than the two rows' own make it look.

    Args:
        one: The classifier.
        other: What it is compared with.

    Returns:
        Differences by figure: of the scores under "scores", and of the calls under the name of each
        operating point that both have.

    Raises:
        ValueError: They were not judged on the same images.
    """
    if one.scores.ids != other.scores.ids:
        raise ValueError(
            f"{one.name} was judged on {len(one.scores.ids)} images, {other.name} on "
            f"{len(other.scores.ids)}; the same images in the same order were wanted"
        )

    def difference(values: Callable[[Classifier, Weights], Values]) -> dict[str, Interval]:
        def figures(weights: Weights) -> Values:
            first, second = values(one, weights), values(other, weights)
            return {name: first[name] - second[name] for name in first}

        return _intervals(one.scores, figures)

    points = {calls.name: calls for calls in one.calls}
    theirs = {calls.name: calls for calls in other.calls}

    def at(name: str) -> Callable[[Classifier, Weights], Values]:
        return lambda row, weights: _call_values(
            row.scores, (points if row is one else theirs)[name], weights
        )

    return {
        "scores": difference(lambda row, weights: _score_values(row.scores, weights)),
        **{name: difference(at(name)) for name in points if name in theirs},
    }


def decision_intervals(
    scores: ClassificationScores, decisions: npt.NDArray[np.int64]
) -> dict[str, Interval]:
    """What an operating point with an uncertain band does to patients.

    Args:
        scores: The images.
        decisions: INT64 [seeds, N], values of `contract.Decision`: ROUTINE, UNCERTAIN or REFER.

    Returns:
        Averaged over seeds: the share of malignant images that are followed up (REFER or
        UNCERTAIN), the share of benign ones that are ROUTINE, and the share of all that are
        UNCERTAIN and REFER.
    """
    malignant, everything = scores.labels == 1, np.ones(len(scores.ids), np.bool_)

    def figures(weights: Weights) -> Values:
        def share(hits: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> metrics.Figures:
            return np.asarray(weights @ (hits & among) / (weights @ among))

        return _mean_over_seeds(
            {
                "malignant_followed_up_share": share(row != Decision.ROUTINE, malignant),
                "benign_routine_share": share(row == Decision.ROUTINE, ~malignant),
                "uncertain_share": share(row == Decision.UNCERTAIN, everything),
                "refer_share": share(row == Decision.REFER, everything),
            }
            for row in decisions
        )

    return _intervals(scores, figures)


def auroc_by_seed_and_fold(scores: ClassificationScores) -> list[list[float]]:
    """AUROC within each held-out fold, [seeds][folds ascending]; NaN where a fold lacks a class."""
    table = []
    for row, folds in zip(scores.scores, scores.folds, strict=True):
        figures = []
        for fold in np.unique(folds):
            inside = folds == fold
            labels = scores.labels[inside]
            both = 0 < labels.sum() < len(labels)
            ones = np.ones((1, len(labels)))
            figures.append(
                float(metrics.auroc(labels, row[inside], ones)[0]) if both else float("nan")
            )
        table.append(figures)
    return table


def calibration_error_by_chance(scores: ClassificationScores) -> float:
    """Mean over seeds of the calibration error that chance alone gives so many images."""
    return float(
        np.mean(
            [
                metrics.calibration_error_by_chance(row, draws=RESAMPLES, seed=SEED)
                for row in scores.scores
            ]
        )
    )


def _intervals(
    scores: ClassificationScores, figures: Callable[[Weights], Values]
) -> dict[str, Interval]:
    return group_intervals(scores.groups, figures, classes=scores.labels)


def _mean_over_seeds(rows: Iterable[Values]) -> Values:
    of_seeds = list(rows)
    return {name: np.mean([row[name] for row in of_seeds], axis=0) for name in of_seeds[0]}
