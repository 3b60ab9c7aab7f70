"""Fitting on all folds but one and applying to that one, for what follows the networks.

Thresholds and calibrations have few parameters, but a handful of benign images decide them: fitted
and judged on the same scores they flatter themselves. Here the held-out fold's scores and labels
take no part in what is applied to it. Its labels did take part in fitting the networks that scored
the other folds, as they must in any cross-validation of two levels without nesting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from thyroid_training.classification_scores import Calls, ClassificationScores

Fitted = TypeVar("Fitted")


@dataclass(frozen=True, eq=False)
class CrossFitted(Generic[Fitted]):
    """What came of it.

    Attributes:
        values: [N], each by what was fitted without its fold.
        fitted: What was applied to each fold.
    """

    values: npt.NDArray[Any]
    fitted: dict[int, Fitted]


def cross_fitted(
    folds: npt.NDArray[np.int64],
    fit_on: Sequence[npt.NDArray[Any]],
    apply_to: npt.NDArray[Any],
    fit: Callable[..., Fitted],
    apply: Callable[[Fitted, npt.NDArray[Any]], npt.NDArray[Any]],
) -> CrossFitted[Fitted]:
    """Fit on the other folds and apply to each.

    Args:
        folds: INT64 [N].
        fit_on: Arrays of N, such as labels and scores.
        apply_to: Array of N, such as scores. `apply` is given nothing else, so no label.
        fit: From the rows of `fit_on` that are in other folds to anything.
        apply: From that and the rows of `apply_to` in the fold to as many values.

    Returns:
        The values, in the order of the samples, and what was fitted.

    Raises:
        ValueError: There is but one fold.
    """
    names = np.unique(folds)
    if len(names) < 2:
        raise ValueError(
            f"{len(names)} fold came; at least 2 were wanted, one to hold out and one to fit on"
        )
    fitted, parts = {}, []
    for fold in names:
        inside = folds == fold
        fitted[int(fold)] = fit(*(array[~inside] for array in fit_on))
        parts.append(apply(fitted[int(fold)], apply_to[inside]))
    values = np.empty(len(folds), parts[0].dtype)
    for fold, part in zip(names, parts, strict=True):
        values[folds == fold] = part
    return CrossFitted(values, fitted)


def cross_fitted_calls(
    name: str,
    scores: ClassificationScores,
    threshold: Callable[[npt.NDArray[np.int64], npt.NDArray[np.float64]], float],
) -> Calls:
    """Call each fold by the threshold that the other folds' scores ask for, for each seed.

    Args:
        name: Of the operating point.
        scores: Out of fold.
        threshold: From labels [n] and scores [n] to a threshold, as in
            `thyroid_training.operating_point`.

    Returns:
        Malignant where the score is at least the threshold.
    """
    runs = [
        cross_fitted(
            folds,
            (scores.labels, row),
            row,
            threshold,
            lambda limit, held_out: held_out >= limit,
        )
        for row, folds in zip(scores.scores, scores.folds, strict=True)
    ]
    return Calls(
        name,
        np.array([run.values for run in runs]),
        np.array([list(run.fitted.values()) for run in runs]),
    )
