"""From the numbers of all folds to what the report is made of; every threshold comes from others.

A fold's calibration, operating point and limits are fitted on the other folds' out-of-fold
numbers, so that no image has a say in what it is judged by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from thyroid_training.calibrated_calls import (
    calibrate,
    calibrated_calls,
    calibrated_decisions,
    cross_fitted_calibration,
    malignancy,
)
from thyroid_training.calibration import Calibration
from thyroid_training.classification_scores import ClassificationScores, Classifier
from thyroid_training.cross_fitting import cross_fitted_calls
from thyroid_training.cross_validation_results import (
    CaseOutline,
    CrossValidation,
    Served,
    worst_results,
)
from thyroid_training.explanation_figures import Explanations, explain
from thyroid_training.figures_segmentation import ImageResult, NoduleDetection
from thyroid_training.fold_outcome import FoldOutcome, region_logits
from thyroid_training.forest import (
    SHAPE_AND_ECHO_FIELDS,
    SHAPE_FIELDS,
    ForestConfig,
    field_importances,
    fit_forest,
    forest_malignancy,
)
from thyroid_training.judge_gate import gate_limits, judge_gate
from thyroid_training.operating_point import (
    balanced_threshold,
    f1_threshold_with_specificity,
    fit_operating_point,
    screening_threshold,
)
from thyroid_training.recipe import Recipe

RESNET = "ResNet-18, predicted regions"
_FORESTS = {
    "Random Forest, shape, true masks": (SHAPE_FIELDS, False),
    "Random Forest, shape, predicted masks": (SHAPE_FIELDS, True),
    "Random Forest, shape and echo, true masks": (SHAPE_AND_ECHO_FIELDS, False),
    "Random Forest, shape and echo, predicted masks": (SHAPE_AND_ECHO_FIELDS, True),
}
_FOREST_SEEDS = range(5)
SERVED_FOREST = "Random Forest, shape and echo, predicted masks"

_WORST_SHOWN = 12


def judge(
    outcomes: Sequence[FoldOutcome], recipe: Recipe, protocol: Mapping[str, object]
) -> CrossValidation:
    """Pool the folds.

    Args:
        outcomes: Of every fold.
        recipe: By which they were fitted.
        protocol: For the report.

    Returns:
        What the report is made of.
    """
    table = _Table(outcomes)
    logits = np.concatenate([outcome.logits for outcome in outcomes], axis=1)
    calibrated = [cross_fitted_calibration(table.folds, table.labels, row) for row in logits]
    scores = table.scores(np.array([row.values for row in calibrated]))
    resnet = Classifier(
        RESNET,
        scores,
        tuple(calibrated_calls(name, scores, logits, point) for name, point in _POINTS.items()),
    )
    forests = [
        table.forest(name, _forest_scores(outcomes, recipe.forest, fields, is_predicted))
        for name, (fields, is_predicted) in _FORESTS.items()
    ]
    importances = _importances(outcomes, recipe.forest)
    images = tuple(image for outcome in outcomes for image in outcome.images)
    return CrossValidation(
        protocol=protocol,
        segmentation={f"TransUNet, {recipe.size}": images},
        classifiers=(*forests, resnet),
        comparisons=((RESNET, SERVED_FOREST),),
        detection=(_detection(outcomes),),
        served=_served(logits, scores, outcomes),
        out_of_distribution=judge_gate(outcomes, {image.id: image.group for image in images}),
        explanations=_explanations(outcomes, calibrated[0].fitted),
        feature_importances={SERVED_FOREST: importances} if importances else {},
        worst=_worst(images, outcomes),
    )


class _Table:
    """The graded images of all folds, one row each."""

    def __init__(self, outcomes: Sequence[FoldOutcome]) -> None:
        samples = [sample for outcome in outcomes for sample in outcome.graded]
        self.names = tuple(sample.name for sample in samples)
        self.groups = tuple(sample.group for sample in samples)
        self.labels = np.array([sample.label for sample in samples], np.int64)
        self.folds = np.concatenate(
            [np.full(len(outcome.graded), outcome.fold) for outcome in outcomes]
        )

    def scores(self, scores: npt.NDArray[np.float64]) -> ClassificationScores:
        """Scores of the images, FP64 [seeds, N], with what else is known of them."""
        folds = np.broadcast_to(self.folds, scores.shape)
        return ClassificationScores(self.names, self.groups, self.labels, folds, scores)

    def forest(self, name: str, scores: npt.NDArray[np.float64]) -> Classifier:
        """A classifier that is not calibrated, called at each operating point."""
        rows = self.scores(scores)
        calls = tuple(cross_fitted_calls(name, rows, point) for name, point in _POINTS.items())
        return Classifier(name, rows, calls)


def _f1_threshold(labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]) -> float:
    """Of the best F1 at specificity 0.5; calls nothing where too many scores tie for that."""
    if np.mean(scores[labels == 0] < scores.max()) < _F1_SPECIFICITY:
        return math.inf
    return f1_threshold_with_specificity(labels, scores, _F1_SPECIFICITY)


_F1_SPECIFICITY = 0.5
_POINTS = {
    "screening, sensitivity 0.95": screening_threshold,
    "best balanced accuracy": balanced_threshold,
    "best F1 at specificity 0.5": _f1_threshold,
}


def _forest_scores(
    outcomes: Sequence[FoldOutcome],
    config: ForestConfig,
    fields: tuple[str, ...],
    is_predicted: bool,
) -> npt.NDArray[np.float64]:
    """Out-of-fold malignancy by forests: FP64 [seeds, N], 0 where no nodule was found."""
    runs = []
    for seed in _FOREST_SEEDS:
        parts = []
        for outcome in outcomes:
            table = outcome.predicted_table if is_predicted else outcome.outlined_table
            forest = fit_forest(
                table.morphology, table.labels, replace(config, fields=fields, seed=seed)
            )
            figures = predicted_figures(outcome) if is_predicted else outcome.outlined
            is_found = ~np.isnan(figures).all(axis=1)
            parts.append(np.where(is_found, forest_malignancy(forest, figures), 0.0))
        runs.append(np.concatenate(parts))
    return np.array(runs)


def predicted_figures(outcome: FoldOutcome) -> npt.NDArray[np.float32]:
    """Morphology of a fold's graded images as served: FP32 [N, fields]."""
    return np.array([crop.morphology for crop in outcome.crops], np.float32)


def _importances(outcomes: Sequence[FoldOutcome], config: ForestConfig) -> dict[str, float]:
    """Loss of AUROC on held-out nodules when a figure is shuffled, mean over the folds.

    A fold counts where nodules of both grades were found; nothing comes back where none counts.
    """
    costs: dict[str, list[float]] = {}
    for outcome in outcomes:
        table, figures = outcome.predicted_table, predicted_figures(outcome)
        found = ~np.isnan(figures).all(axis=1)
        labels = np.array([sample.label for sample in outcome.graded], np.int64)[found]
        if len(set(labels.tolist())) < 2:
            continue
        forest = fit_forest(table.morphology, table.labels, config)
        for entry in field_importances(forest, figures[found], labels):
            costs.setdefault(entry.field, []).append(entry.permutation)
    means = {name: float(np.mean(values)) for name, values in costs.items()}
    return dict(sorted(means.items(), key=lambda item: -item[1]))


def _detection(outcomes: Sequence[FoldOutcome]) -> NoduleDetection:
    rows = [row for outcome in outcomes for row in outcome.phantoms]
    names, present, found = zip(*rows, strict=True)
    return NoduleDetection(
        "phantoms of unseen seeds", names, np.array(present), np.array(found)[None]
    )


def _served(
    logits: npt.NDArray[np.float64],
    scores: ClassificationScores,
    outcomes: Sequence[FoldOutcome],
) -> Served:
    """Fit what is shipped on all out-of-fold numbers, and say what it would have decided."""
    flat, labels = logits.ravel(), np.tile(scores.labels, len(logits))
    calibration = calibrate(labels, flat)
    groups = scores.groups * len(logits)
    return Served(
        RESNET,
        calibration,
        fit_operating_point(labels, malignancy(calibration, flat), groups),
        calibrated_decisions(scores, logits),
        gate_limits(outcomes),
    )


def _explanations(
    outcomes: Sequence[FoldOutcome], calibrations: Mapping[int, Calibration]
) -> Explanations | None:
    """Measure the first seed's evidence on all graded images in which a nodule was found."""
    rows = [
        (outcome, index)
        for outcome in outcomes
        for index, crop in enumerate(outcome.crops)
        if crop.nodule_found
    ]
    if not rows:
        return None

    def model(number: int) -> Any:
        outcome, _ = rows[number]
        calibration = calibrations[outcome.fold]
        return lambda rois: malignancy(calibration, region_logits(outcome.classification, rois))

    return explain(
        tuple(outcome.graded[index].group for outcome, index in rows),
        np.array([outcome.crops[index].roi for outcome, index in rows]),
        np.array([outcome.evidence[index] for outcome, index in rows]),
        np.array([outcome.nodules[index] for outcome, index in rows]),
        model,
    )


def _worst(
    images: tuple[ImageResult, ...], outcomes: Sequence[FoldOutcome]
) -> tuple[CaseOutline, ...]:
    truths = {name: truth for outcome in outcomes for name, truth in outcome.truths.items()}
    masks = {name: mask for outcome in outcomes for name, mask in outcome.masks.items()}
    return tuple(
        CaseOutline(image.id, truths[image.id], masks[image.id], image.dice, image.hausdorff95_px)
        for image in worst_results(images, _WORST_SHOWN)
    )
