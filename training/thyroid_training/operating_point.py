"""From which probability on a patient is referred: thresholds, and the band around the chosen one.

A sample is called malignant where its score is at least the threshold. Every threshold here is one
of the scores it was fitted on. Nothing here looks at a sample that it is judged on: see
`thyroid_training.cross_fitting`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_curve, roc_curve

from thyroid_pipeline.contract import Decision
from thyroid_training.bootstrap import Weights, percentile_bounds, resample_weights
from thyroid_training.classification_scores import require_both_grades

SCREENING_SENSITIVITY = 0.95
# A share of a whole number may lie a rounding error above it: 0.95 x 20 is 19.
_ROUNDING = 1e-9

Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OperatingPoint:
    """What is made of a malignancy.

    Attributes:
        routine_below: Below it: ROUTINE.
        refer_from: From it on: REFER; between the two: UNCERTAIN, to be followed up as well.
        threshold: The screening threshold that the band lies around.
        sensitivity: That the threshold was chosen for.

    Raises:
        ValueError: The three are not in order within 0 to 1.
    """

    routine_below: float
    refer_from: float
    threshold: float
    sensitivity: float = SCREENING_SENSITIVITY

    def __post_init__(self) -> None:
        if not 0 <= self.routine_below <= self.threshold <= self.refer_from <= 1:
            raise ValueError(
                f"routine_below {self.routine_below}, threshold {self.threshold} and refer_from "
                f"{self.refer_from} came; probabilities in this order were wanted: fit them by "
                "`fit_operating_point`"
            )

    def decide(self, malignancy: Scores) -> npt.NDArray[np.int64]:
        """Decide.

        Args:
            malignancy: FP64, any shape, 0 to 1.

        Returns:
            INT64 of the same shape, values of `contract.Decision`.

        Raises:
            ValueError: A malignancy is NaN: whether that means no nodule or out of distribution is
                not known here.
        """
        if np.isnan(malignancy).any():
            raise ValueError(
                f"{int(np.isnan(malignancy).sum())} of {malignancy.size} malignancies are NaN; "
                "numbers were wanted: decide NO_NODULE and OUT_OF_DISTRIBUTION beforehand"
            )
        return np.where(
            malignancy < self.routine_below,
            Decision.ROUTINE,
            np.where(malignancy >= self.refer_from, Decision.REFER, Decision.UNCERTAIN),
        ).astype(np.int64)


def screening_threshold(
    labels: Labels, scores: Scores, sensitivity: float = SCREENING_SENSITIVITY
) -> float:
    """The largest threshold whose sensitivity is at least as asked.

    Args:
        labels: INT64 [N].
        scores: FP64 [N].
        sensitivity: Above 0, at most 1.

    Returns:
        The threshold.

    Raises:
        ValueError: A class is missing.
    """
    ones = np.ones((1, len(labels)))
    return float(_screening_thresholds(labels, scores, ones, sensitivity)[0])


def _screening_thresholds(
    labels: Labels, scores: Scores, weights: Weights, sensitivity: float
) -> npt.NDArray[np.float64]:
    require_both_grades(labels.tolist(), "what a threshold is fitted on")
    malignant = np.flatnonzero(labels == 1)
    descending = malignant[np.argsort(-scores[malignant], kind="stable")]
    called = np.cumsum(weights[:, descending], axis=1)
    wanted = sensitivity * called[:, -1:] - _ROUNDING
    return np.asarray(scores[descending][np.argmax(called >= wanted, axis=1)])


def fit_operating_point(
    labels: Labels,
    scores: Scores,
    groups: Sequence[str] | npt.NDArray[np.str_],
    sensitivity: float = SCREENING_SENSITIVITY,
) -> OperatingPoint:
    """The screening threshold, and its 95% interval over patients as the uncertain band.

    The band is where another sample of patients might have put the threshold. Both sides of it are
    followed up, so that the sensitivity aimed at holds at the band's lower end.

    Args:
        labels: INT64 [N].
        scores: FP64 [N], 0 to 1.
        groups: Patient of each.
        sensitivity: Above 0, at most 1.

    Returns:
        The operating point.

    Raises:
        ValueError: A class is missing.
    """
    threshold = screening_threshold(labels, scores, sensitivity)
    weights = resample_weights(list(groups), labels)
    low, high = percentile_bounds(_screening_thresholds(labels, scores, weights, sensitivity))
    return OperatingPoint(min(low, threshold), max(high, threshold), threshold, sensitivity)


def balanced_threshold(labels: Labels, scores: Scores) -> float:
    """The threshold of the best balanced accuracy; of several, the lowest: it misses fewest.

    Args:
        labels: INT64 [N].
        scores: FP64 [N].

    Returns:
        The threshold.

    Raises:
        ValueError: A class is missing.
    """
    require_both_grades(labels.tolist(), "what a threshold is fitted on")
    false_rates, sensitivities, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    # The first threshold is infinite, to call nothing.
    return _lowest_best(sensitivities[1:] - false_rates[1:], thresholds[1:])


def f1_threshold_with_specificity(
    labels: Labels, scores: Scores, specificity: float = 0.5
) -> float:
    """The threshold of the largest F1 among those that spare enough of the benign.

    Args:
        labels: INT64 [N].
        scores: FP64 [N].
        specificity: From 0 to 1; the share of benign samples that must lie below.

    Returns:
        The threshold; of several, the lowest.

    Raises:
        ValueError: A class is missing, or no score leaves so many benign samples below it.
    """
    require_both_grades(labels.tolist(), "what a threshold is fitted on")
    precision, sensitivity, thresholds = precision_recall_curve(labels, scores)
    precision, sensitivity = precision[:-1], sensitivity[:-1]  # the last is that of no threshold
    benign = np.sort(scores[labels == 0])
    spared = np.searchsorted(benign, thresholds, side="left") / len(benign)
    allowed = spared >= specificity - _ROUNDING
    if not allowed.any():
        raise ValueError(
            f"no score leaves {specificity:.0%} of {len(benign)} benign samples below it, at most "
            f"{spared.max():.0%} do; scores that differ were wanted: a lower specificity, or other "
            "scores"
        )
    both = precision + sensitivity
    f1 = np.divide(2 * precision * sensitivity, both, out=np.zeros_like(both), where=both > 0)
    return _lowest_best(np.where(allowed, f1, -math.inf), thresholds)


def _lowest_best(merits: npt.NDArray[np.float64], thresholds: npt.NDArray[np.float64]) -> float:
    best = merits >= merits.max() - _ROUNDING
    return float(thresholds[best].min())
