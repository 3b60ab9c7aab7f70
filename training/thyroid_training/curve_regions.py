"""What the side of ResNet-18's region is worth: AUROC out of fold, the stages left as they are.

Regions are cut by the radiologists' outlines. By predicted masks, as served, the side of one
network would be judged through the errors of five others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from thyroid_pipeline import contract
from thyroid_pipeline.roi import cut_roi
from thyroid_training.calibrated_calls import cross_fitted_calibration
from thyroid_training.classification_scores import ClassificationScores, Classifier
from thyroid_training.figures_classification import difference_intervals, score_intervals
from thyroid_training.fit_classification import LabelledNodule, outlined_nodules
from thyroid_training.fold_fits import FoldFits
from thyroid_training.linear_layer import linear_weights, mean_features
from thyroid_training.protocol import FOLDS
from thyroid_training.resnet18 import ResNet18

Figures = Mapping[str, Any]

REGION_SIDES_PX = (128, 160, 192, 224, 256)

_BATCH = 16  # of regions; at 256 px a few hundred MB


def judge_regions(fits: FoldFits, stages: ResNet18, sides_px: Sequence[int]) -> list[Figures]:
    """Fit the linear layer on the means of each side out of fold, and judge it.

    Args:
        fits: The recipe and the sets; nothing is fitted or read by them here.
        stages: A network whose stages saw no thyroid.
        sides_px: Of the regions, multiples of 32, the shipped one among them.

    Returns:
        For each side `name`, `side_px`, `shipped`, `images`, and with intervals over patients
        `auroc`, `average_precision` and `auroc_less_shipped`, on the same images.

    Raises:
        ValueError: A fold lacks a grade among the others, or the shipped side is missing.
    """
    if contract.ROI_SIDE_PX not in sides_px:
        raise ValueError(
            f"sides of {', '.join(map(str, sides_px))} px came; {contract.ROI_SIDE_PX}, the "
            "shipped one, was wanted among them, to compare with: add it"
        )
    rows = {side: _classifier(fits, stages, side) for side in sides_px}
    shipped = rows[contract.ROI_SIDE_PX]
    figures: list[Figures] = []
    for side, row in rows.items():
        intervals = score_intervals(row.scores)
        figures.append(
            {
                "name": row.name,
                "side_px": side,
                "shipped": side == contract.ROI_SIDE_PX,
                "images": len(row.scores.ids),
                "auroc": intervals["auroc"],
                "average_precision": intervals["average_precision"],
                "auroc_less_shipped": difference_intervals(row, shipped)["scores"]["auroc"],
            }
        )
    return figures


def _classifier(fits: FoldFits, stages: ResNet18, side_px: int) -> Classifier:
    held = [(fold, outlined_nodules(fits.held_out(fold))) for fold in range(FOLDS)]
    nodules = [nodule for _, part in held for nodule in part]
    folds = np.repeat([fold for fold, _ in held], [len(part) for _, part in held])
    labels = np.array([nodule.sample.label for nodule in nodules], np.int64)
    logits = _out_of_fold_logits(
        *_means(stages, nodules, side_px),
        labels,
        folds,
        fits.recipe.classification.inverse_regularisation,
    )
    scores = ClassificationScores(
        tuple(nodule.sample.name for nodule in nodules),
        tuple(nodule.sample.group for nodule in nodules),
        labels,
        folds[None],
        cross_fitted_calibration(folds, labels, logits).values[None],
    )
    return Classifier(f"region_{side_px}", scores, ())


def _means(
    stages: ResNet18, nodules: Sequence[LabelledNodule], side_px: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What the linear layer reads of each region and of its mirror image: FP64 [N, width] each."""
    margin = contract.CropperParameters().margin_share
    regions = np.array(
        [cut_roi(n.sample.frame, n.boxes[0], n.sample.geometry, margin, side_px) for n in nodules]
    )
    parts = [regions[begin : begin + _BATCH] for begin in range(0, len(regions), _BATCH)]
    plain = np.concatenate([mean_features(stages, part) for part in parts])
    mirrored = np.concatenate([mean_features(stages, part[:, :, ::-1].copy()) for part in parts])
    return plain, mirrored


def _out_of_fold_logits(
    plain: npt.NDArray[np.float64],
    mirrored: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    folds: npt.NDArray[np.int64],
    inverse_regularisation: float,
) -> npt.NDArray[np.float64]:
    """Logits of each fold by the layer that the others give: FP64 [N]."""
    logits = np.empty(len(labels))
    for fold in range(FOLDS):
        held_out = folds == fold
        others = np.concatenate([plain[~held_out], mirrored[~held_out]])
        weight, bias = linear_weights(others, np.tile(labels[~held_out], 2), inverse_regularisation)
        logits[held_out] = plain[held_out] @ weight + bias
    return logits
