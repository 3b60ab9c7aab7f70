"""Calls and decisions by calibrated malignancy, in which no held-out image has a say.

Calibration and threshold are fitted together, on the other folds' logits. One after the other would
not do: the other folds' malignancies, each calibrated without its own fold, were calibrated with
the held-out one, and so a threshold fitted on them would have seen what it is applied to.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from thyroid_pipeline.contract import Decision
from thyroid_training.calibration import MINIMUM_SCALE, Calibration, fit_calibration
from thyroid_training.classification_scores import Calls, ClassificationScores
from thyroid_training.cross_fitting import CrossFitted, cross_fitted
from thyroid_training.operating_point import OperatingPoint, fit_operating_point

Labels = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float64]


def calibrate(labels: Labels, logits: Logits) -> Calibration:
    """Fit a calibration on the images in which a nodule was found.

    Args:
        labels: INT64 [N], 1 malignant, 0 benign.
        logits: FP64 [N], NaN where no nodule was found.

    Returns:
        The calibration. Where the found lack a grade their logits rank nothing: then it gives next
        to no weight to them, and says about how many of the found are malignant, each grade
        counted once more than it came.
    """
    found = ~np.isnan(logits)
    malignant = int(labels[found].sum())
    benign = int(found.sum()) - malignant
    if malignant and benign:
        return fit_calibration(logits[found], labels[found])
    return Calibration(MINIMUM_SCALE, float(np.log((malignant + 1) / (benign + 1))))


def malignancy(calibration: Calibration, logits: Logits) -> npt.NDArray[np.float64]:
    """Probability of malignancy of logits of any shape, 0 where no nodule was found (NaN)."""
    return np.nan_to_num(calibration.apply(logits), nan=0.0)


def cross_fitted_calibration(
    folds: npt.NDArray[np.int64], labels: Labels, logits: Logits
) -> CrossFitted[Calibration]:
    """Calibrate each fold's logits by those of the others.

    Args:
        folds: INT64 [N].
        labels: INT64 [N].
        logits: FP64 [N], out of fold, of one seed; NaN where no nodule was found.

    Returns:
        Probability of malignancy, FP64 [N], 0 where no nodule was found; and the calibrations.
    """
    return cross_fitted(folds, (labels, logits), logits, calibrate, malignancy)


def calibrated_calls(
    name: str,
    scores: ClassificationScores,
    logits: Logits,
    threshold: Callable[[Labels, npt.NDArray[np.float64]], float],
) -> Calls:
    """Call each fold by the calibration and the threshold that the other folds ask for.

    Args:
        name: Of the operating point.
        scores: Of the same images, as `cross_fitted_calibration` gives them.
        logits: FP64 [seeds, N], out of fold; NaN where no nodule was found.
        threshold: From labels [n] and malignancies [n] to a threshold.

    Returns:
        Malignant where the malignancy is at least the threshold.
    """

    def fit(labels: Labels, other_logits: Logits) -> tuple[Calibration, float]:
        calibration = calibrate(labels, other_logits)
        return calibration, threshold(labels, malignancy(calibration, other_logits))

    def apply(fitted: tuple[Calibration, float], held_out: Logits) -> npt.NDArray[np.bool_]:
        calibration, limit = fitted
        return malignancy(calibration, held_out) >= limit

    runs = [
        cross_fitted(folds, (scores.labels, row), row, fit, apply)
        for row, folds in zip(logits, scores.folds, strict=True)
    ]
    return Calls(
        name,
        np.array([run.values for run in runs]),
        np.array([[limit for _, limit in run.fitted.values()] for run in runs]),
    )


def calibrated_decisions(scores: ClassificationScores, logits: Logits) -> npt.NDArray[np.int64]:
    """Decide on each fold by the calibration and the operating point that the others ask for.

    Args:
        scores: Of the same images, for their labels, patients and folds.
        logits: FP64 [seeds, N], out of fold; NaN where no nodule was found.

    Returns:
        INT64 [seeds, N]: ROUTINE, UNCERTAIN or REFER of `contract.Decision`; ROUTINE where no
        nodule was found, since nobody follows up what was not seen.
    """

    def fit(
        labels: Labels, other_logits: Logits, groups: npt.NDArray[np.str_]
    ) -> tuple[Calibration, OperatingPoint]:
        calibration = calibrate(labels, other_logits)
        return calibration, fit_operating_point(
            labels, malignancy(calibration, other_logits), groups
        )

    def apply(
        fitted: tuple[Calibration, OperatingPoint], held_out: Logits
    ) -> npt.NDArray[np.int64]:
        calibration, point = fitted
        decided = point.decide(malignancy(calibration, held_out))
        return np.where(np.isnan(held_out), int(Decision.ROUTINE), decided)

    groups = np.array(scores.groups)
    return np.array(
        [
            cross_fitted(folds, (scores.labels, row, groups), row, fit, apply).values
            for row, folds in zip(logits, scores.folds, strict=True)
        ]
    )
