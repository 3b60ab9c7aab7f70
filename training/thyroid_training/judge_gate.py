"""The gate's limits, and its scores by limits that no judged frame has a say in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from thyroid_training.cross_validation_results import OutOfDistribution
from thyroid_training.fold_outcome import (
    PHANTOMS,
    THYROIDS,
    VARIED_PHANTOMS,
    VARIED_THYROIDS,
    FoldOutcome,
    GateDistances,
)
from thyroid_training.ood_figures import OodScores

# Of frames of a set that the gate knows, out of fold, so many may lie above its limit.
_FALSE_FLAGS = 0.01


def gate_limits(outcomes: Sequence[FoldOutcome]) -> tuple[float, float]:
    """Distances that the allowed share of thyroids and of phantoms exceeds, out of fold.

    Varied frames count as the others do: the networks were fitted on such.

    Args:
        outcomes: Of the folds to learn from.

    Returns:
        For thyroids and for phantoms, as `ood.fit_gate` takes them.
    """
    return (
        _limit(
            [
                outcome.distances[kind].thyroids
                for outcome in outcomes
                for kind in (THYROIDS, VARIED_THYROIDS)
            ]
        ),
        _limit(
            [
                outcome.distances[kind].phantoms
                for outcome in outcomes
                for kind in (PHANTOMS, VARIED_PHANTOMS)
            ]
        ),
    )


def _limit(distances: Sequence[npt.NDArray[np.float32]]) -> float:
    return float(np.quantile(np.concatenate(distances), 1 - _FALSE_FLAGS))


def gate_scores(
    distances: GateDistances, thyroid_limit: float, phantom_limit: float
) -> npt.NDArray[np.float64]:
    """The served `ood_score` of frames: FP64 [N], as `ood.OodGate` computes it."""
    return np.minimum(
        distances.thyroids.astype(np.float64) / thyroid_limit,
        distances.phantoms.astype(np.float64) / phantom_limit,
    )


def judge_gate(outcomes: Sequence[FoldOutcome], group_of: Mapping[str, str]) -> OutOfDistribution:
    """Score each fold's frames by limits from the other folds.

    Args:
        outcomes: Of every fold.
        group_of: Patient of each thyroid, by name; any other frame stands alone.

    Returns:
        The scores, of thyroids in distribution and of all else.
    """
    scores: dict[str, list[tuple[str, float]]] = {}
    for outcome in outcomes:
        limits = gate_limits([other for other in outcomes if other is not outcome])
        for kind, distances in outcome.distances.items():
            values = gate_scores(distances, *limits)
            scores.setdefault(kind, []).extend(zip(distances.names, values.tolist(), strict=True))
    sets = {
        kind: OodScores(
            kind,
            tuple(group_of.get(name, name) for name, _ in rows),
            np.array([[score for _, score in rows]]),
        )
        for kind, rows in scores.items()
    }
    return OutOfDistribution(sets.pop(THYROIDS), tuple(sets.values()))
