"""What a cross-validation hands to its report: numbers of images, no picture of a patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from thyroid_training.calibration import Calibration
from thyroid_training.classification_scores import Classifier
from thyroid_training.explanation_figures import Explanations
from thyroid_training.figures_segmentation import ImageResult, NoduleDetection
from thyroid_training.mask_agreement import Mask
from thyroid_training.ood_figures import OodScores
from thyroid_training.operating_point import OperatingPoint


@dataclass(frozen=True, eq=False)
class Served:
    """What is shipped of the classifier that is served, and what it would have decided.

    Attributes:
        classifier: Its name among the classifiers.
        calibration: Fitted on all out-of-fold logits.
        point: Fitted on all out-of-fold malignancies.
        decisions: INT64 [seeds, N], `contract.Decision` of each image by the point that the other
            folds ask for.
        gate_limits: Distance to thyroids, and to phantoms, from which a frame counts as strange, as
            `ood.fit_gate` takes them: fitted on all out-of-fold distances. Empty without a gate.
    """

    classifier: str
    calibration: Calibration
    point: OperatingPoint
    decisions: npt.NDArray[np.int64]
    gate_limits: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class OutOfDistribution:
    """The gate's scores in distribution, out of fold, and on foreign sets."""

    inside: OodScores
    foreign: tuple[OodScores, ...]


@dataclass(frozen=True, eq=False)
class CaseOutline:
    """Two masks of one image, of which the outlines are drawn on white.

    Attributes:
        id: The image's id.
        truth: bool [height, width] of the original image.
        predicted: Likewise.
        dice: Of the two.
        hausdorff95_px: Of the two; NaN where nothing was found.
    """

    id: str
    truth: Mask
    predicted: Mask
    dice: float
    hausdorff95_px: float


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Everything that the report is made of. Parts that were not run are left empty.

    Attributes:
        protocol: What the figures come from: folds, seeds, recipes. No path of a machine.
        segmentation: Results of each network by its name, the served one first.
        classifiers: All but the baseline, which the report adds; on the same images.
        comparisons: Pairs of classifiers' names: the first less the second.
        detection: Sets of frames with and without nodules.
        served: What is shipped.
        out_of_distribution: Scores of the gate.
        explanations: Of the served classifier.
        feature_importances: Of each forest by name, by feature.
        worst: Outlines of the worst cases, worst first; see `worst_results`.
    """

    protocol: Mapping[str, object]
    segmentation: Mapping[str, tuple[ImageResult, ...]]
    classifiers: tuple[Classifier, ...]
    comparisons: tuple[tuple[str, str], ...] = ()
    detection: tuple[NoduleDetection, ...] = ()
    served: Served | None = None
    out_of_distribution: OutOfDistribution | None = None
    explanations: Explanations | None = None
    feature_importances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    worst: tuple[CaseOutline, ...] = ()

    def __post_init__(self) -> None:
        names = [classifier.name for classifier in self.classifiers]
        used = {name for pair in self.comparisons for name in pair}
        used |= {self.served.classifier} if self.served else set()
        if not self.segmentation or not names or len(set(names)) != len(names) or used - set(names):
            raise ValueError(
                f"{len(self.segmentation)} segmentations and classifiers {names} came, with "
                f"{sorted(used)} compared or served; at least one of each, classifiers of "
                "different names, and those alone compared were wanted"
            )

    def classifier(self, name: str) -> Classifier:
        """The classifier of a name."""
        return next(row for row in self.classifiers if row.name == name)


def worst_results(results: tuple[ImageResult, ...], count: int) -> list[ImageResult]:
    """Results of the smallest Dice, each image by its worst seed only; the smallest first."""
    worst: dict[str, ImageResult] = {}
    for result in sorted(results, key=lambda result: (result.dice, result.id, result.seed)):
        worst.setdefault(result.id, result)
    return list(worst.values())[:count]
