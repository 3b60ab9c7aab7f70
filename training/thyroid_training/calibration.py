"""From logits to probabilities that are the odds in a set like the one fitted on.

Platt scaling: sigmoid(scale x logit + offset) (J. Platt, *Probabilistic outputs for support vector
machines*, 1999, with his smoothed targets; H.-T. Lin et al., Machine Learning 68, 2007). The offset
is needed beside the temperature because the loss that the classifier was fitted by weighs benign
and malignant alike, and the set does not. Not isotonic regression: over five dozen benign samples
it is a staircase of a few steps, which ties scores that differ, and says 0 or 1 at its ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from thyroid_training.classification_scores import require_both_grades

# Logits that rank no better than chance would ask for a scale of 0 or below, which would tie or
# turn round every answer. This one leaves the order as it is and next to no weight to it.
MINIMUM_SCALE = 1e-3


@dataclass(frozen=True)
class Calibration:
    """sigmoid(scale x logit + offset).

    Attributes:
        scale: At least `MINIMUM_SCALE`, so that no order is changed.
        offset: In logits.

    Raises:
        ValueError: The scale is less.
    """

    scale: float
    offset: float

    def __post_init__(self) -> None:
        if not self.scale >= MINIMUM_SCALE:
            raise ValueError(
                f"a scale of {self.scale} came; at least {MINIMUM_SCALE} was wanted, so that the "
                "order of the answers stays: fit it by `fit_calibration`"
            )

    def apply(self, logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Probability of malignancy, 0 to 1, of logits of any shape; NaN stays NaN."""
        # The sigmoid by way of tanh, which overflows nowhere.
        return np.asarray(0.5 * (1 + np.tanh(0.5 * (self.scale * logits + self.offset))))


def fit_calibration(
    logits: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64] | None = None,
) -> Calibration:
    """Fit scale and offset by maximum likelihood, with targets a little inside 0 and 1.

    Platt's targets, (P + 1) / (P + 2) and 1 / (B + 2) for P malignant and B benign samples, keep
    the scale finite where the logits part the classes.

    Args:
        logits: FP64 [N], of samples that the network was not fitted on; finite.
        labels: INT64 [N], 1 malignant, 0 benign.
        weights: FP64 [N], at least 0; all alike by default.

    Returns:
        The calibration.

    Raises:
        ValueError: A class is missing, or a logit is not finite.
    """
    require_both_grades(labels.tolist(), "what a calibration is fitted on")
    if not np.isfinite(logits).all():
        raise ValueError(
            f"{int((~np.isfinite(logits)).sum())} of {logits.size} logits are not finite; numbers "
            "were wanted: leave out the images in which no nodule was found"
        )
    weights = np.ones(len(labels)) if weights is None else weights
    malignant = int(labels.sum())
    benign = len(labels) - malignant
    targets = np.where(labels == 1, (malignant + 1) / (malignant + 2), 1 / (benign + 2))
    # A soft target is a sample of either class, each with its share of the weight.
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1_000).fit(
        np.r_[logits, logits][:, None],
        np.repeat([1, 0], len(labels)),
        sample_weight=np.r_[weights * targets, weights * (1 - targets)],
    )
    scale, offset = float(model.coef_[0, 0]), float(model.intercept_[0])
    if scale < MINIMUM_SCALE:
        # The likelihood is concave, so its best allowed scale is the least one. With so small a
        # scale the best offset is, to first order, the mean target's logit.
        mean = float(np.average(targets, weights=weights))
        scale = MINIMUM_SCALE
        offset = float(np.log(mean / (1 - mean)) - scale * np.average(logits, weights=weights))
    return Calibration(scale, offset)
