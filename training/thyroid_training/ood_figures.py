"""Whether the out-of-distribution score tells foreign pictures from thyroids it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_pipeline import contract
from thyroid_training import weighted_metrics
from thyroid_training.bootstrap import Interval, Weights, group_intervals, weighted_mean


@dataclass(frozen=True, eq=False)
class OodScores:
    """Scores of one set of pictures.

    Attributes:
        name: What they are.
        groups: Of N pictures: the patient, or the picture itself where each stands alone.
        scores: FP64 [seeds, N], at least 0. Of the in-distribution set each by the networks that
            never saw the patient.

    Raises:
        ValueError: Shapes disagree, or a score is NaN.
    """

    name: str
    groups: tuple[str, ...]
    scores: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.groups)
        shaped = self.scores.ndim == 2 and self.scores.shape[1] == count > 0
        if not shaped or np.isnan(self.scores).any():
            raise ValueError(
                f"{self.name}: {count} groups and scores of shape {self.scores.shape}, "
                f"{int(np.isnan(self.scores).sum())} of them NaN, came; numbers [seeds, N] for N "
                "pictures, at least one, were wanted"
            )


@dataclass(frozen=True)
class OodRow:
    """Figures of one set.

    Attributes:
        name: Of the set.
        pictures: Their number.
        flagged_share: Above the limit; in distribution these are the false flags.
        auroc: Against the set in distribution; None of that set itself.
    """

    name: str
    pictures: int
    flagged_share: Interval
    auroc: Interval | None


def flagged_interval(pictures: OodScores, limit: float = contract.OOD_LIMIT) -> Interval:
    """Share of pictures whose score is above the limit, averaged over seeds.

    Args:
        pictures: Of one set; in distribution these are the false flags.
        limit: Above it a picture is flagged.

    Returns:
        The share with its interval over groups.
    """

    def figures(weights: Weights) -> dict[str, npt.NDArray[np.float64]]:
        flags = (pictures.scores > limit).astype(np.float64)
        return {"flagged": np.mean([weighted_mean(row, weights) for row in flags], axis=0)}

    return group_intervals(pictures.groups, figures)["flagged"]


def ood_auroc_interval(inside: OodScores, foreign: OodScores) -> Interval:
    """AUROC of the score between pictures in distribution and foreign ones.

    Args:
        inside: In distribution, out of fold.
        foreign: As many seeds of the same networks.

    Returns:
        Averaged over seeds, with its interval over the groups of both sets.

    Raises:
        ValueError: The two differ in the number of seeds.
    """
    if len(inside.scores) != len(foreign.scores):
        raise ValueError(
            f"{inside.name} has scores of {len(inside.scores)} seeds, {foreign.name} of "
            f"{len(foreign.scores)}; the same seeds were wanted"
        )
    labels = np.repeat([0, 1], [len(inside.groups), len(foreign.groups)])
    scores = np.hstack([inside.scores, foreign.scores])

    def figures(weights: Weights) -> dict[str, npt.NDArray[np.float64]]:
        rows = [weighted_metrics.auroc(labels, row, weights) for row in scores]
        return {"auroc": np.mean(rows, axis=0)}

    groups = [f"inside {group}" for group in inside.groups]
    groups += [f"foreign {group}" for group in foreign.groups]
    return group_intervals(groups, figures, classes=labels)["auroc"]


def ood_intervals(
    inside: OodScores, foreign_sets: Sequence[OodScores], limit: float = contract.OOD_LIMIT
) -> list[OodRow]:
    """All figures of the gate, a row for each set, the one in distribution first.

    Args:
        inside: In distribution, out of fold.
        foreign_sets: What should be flagged.
        limit: Above it a picture is flagged.

    Returns:
        The rows.
    """
    return [
        OodRow(
            name=pictures.name,
            pictures=len(pictures.groups),
            flagged_share=flagged_interval(pictures, limit),
            auroc=None if pictures is inside else ood_auroc_interval(inside, pictures),
        )
        for pictures in (inside, *foreign_sets)
    ]
