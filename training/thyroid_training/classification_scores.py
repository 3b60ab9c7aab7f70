"""What is known of a classifier before it is judged: scores, calls, and what others report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class PublishedResult:
    """A figure that others report on this set, by folds that are not known to us.

    Whether they part the images of a patient is not known either, nor any figure but F1.
    """

    name: str
    f1: float
    images: int
    source: str


_PAPER = "arXiv 2511.11937, 5-fold cross-validation"
PUBLISHED = (
    PublishedResult("TransUNet, region, ResNet-18", 0.852, 349, _PAPER),
    PublishedResult("Random Forest on morphological features", 0.829, 349, _PAPER),
)


@dataclass(frozen=True, eq=False)
class ClassificationScores:
    """Out-of-fold scores of one classifier.

    Attributes:
        ids: Of N images.
        groups: Patient of each.
        labels: INT64 [N], 1 malignant, 0 benign.
        folds: INT64 [seeds, N], the fold in which each was held out; seeds may split differently.
        scores: FP64 [seeds, N], probability of malignancy by a network that never saw the patient;
            0 where no nodule was found, since a screening would call that benign.

    Raises:
        ValueError: Shapes disagree, a class is missing, a patient is in two folds, or a score is
            not from 0 to 1.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    folds: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.ids)
        wanted = ((count,), (count,), (len(self.scores), count), (len(self.scores), count))
        came = ((len(self.groups),), self.labels.shape, self.folds.shape, self.scores.shape)
        if came != wanted or len(set(self.ids)) != count:
            raise ValueError(
                f"{count} ids ({len(set(self.ids))} different), groups, labels, folds and scores "
                f"of shapes {came} came; N different ids, [N], [N], [seeds, N] and [seeds, N] were "
                "wanted: give every seed the same images"
            )
        require_both_grades(self.labels.tolist(), "what is judged")
        for row in self.folds:
            parted = len(set(zip(self.groups, row.tolist(), strict=True)))
            if parted != len(set(self.groups)):
                raise ValueError(
                    f"{len(set(self.groups))} groups lie in {parted} pairs of group and fold; one "
                    "fold for each group was wanted: split by patient"
                )
        if not ((self.scores >= 0) & (self.scores <= 1)).all():
            raise ValueError(
                f"scores from {np.min(self.scores)} to {np.max(self.scores)} came; probabilities "
                "from 0 to 1 were wanted, 0 (not NaN) where no nodule was found"
            )


@dataclass(frozen=True, eq=False)
class Calls:
    """Yes-or-no answers at an operating point.

    Attributes:
        name: Of the operating point.
        calls: bool [seeds, N], True for malignant.
        thresholds: FP64 [seeds, folds], what each held-out fold was called by; empty where calls
            come from no threshold.
    """

    name: str
    calls: npt.NDArray[np.bool_]
    thresholds: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))


@dataclass(frozen=True, eq=False)
class Classifier:
    """One row of the report: a classifier, its scores and its calls at operating points."""

    name: str
    scores: ClassificationScores
    calls: tuple[Calls, ...]


def all_malignant(like: ClassificationScores) -> Classifier:
    """The baseline that calls every image malignant, with certainty.

    Args:
        like: Scores of the images to call.

    Returns:
        It, as a classifier like others.
    """
    scores = ClassificationScores(
        like.ids, like.groups, like.labels, like.folds[:1], np.ones((1, len(like.ids)))
    )
    return Classifier("all malignant", scores, (Calls("always", scores.scores > 0),))


def require_both_grades(labels: Iterable[int | None], of_what: str) -> None:
    """Refuse samples from which no figure of a classifier, no threshold and no fit can come.

    Args:
        labels: 1 malignant, 0 benign, None without a grade.
        of_what: What they are, for the message.

    Raises:
        ValueError: Benign or malignant samples are missing.
    """
    counted = Counter(labels)
    if not counted[0] or not counted[1]:
        raise ValueError(
            f"{of_what} has {counted[0]} benign and {counted[1]} malignant samples; at least one "
            "of each was wanted: give more samples or choose another fold"
        )
