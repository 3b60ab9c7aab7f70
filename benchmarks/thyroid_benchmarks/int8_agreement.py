"""Whether a network in INT8 answers as in FP32, by what matters: masks, scores, malignancy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_export.gate import INT8_GATE
from thyroid_export.mixed_parity import Agreement, ImageSet, judge
from thyroid_export.parity import Arrays
from thyroid_pipeline import contract
from thyroid_pipeline.nodules import find_nodules
from thyroid_training.dataset import Sample
from thyroid_training.mask_agreement import dice
from thyroid_training.weighted_metrics import auroc


@dataclass(frozen=True)
class MaskAgreement:
    """How well two TransUNets agree over one set of images.

    Attributes:
        images: The set.
        compared: How many masks: of images in which either finds a nodule.
        mean_dice: Of the masks in the images' own pixels.
        lowest_dice: Of any.
        frames: How many were looked at.
        turned: How many of them are in distribution for one and out of it for the other.
        largest_score_move: Of `ood_score`, whose limit is 1; of scores above it as a share of them.
    """

    images: str
    compared: int
    mean_dice: float
    lowest_dice: float
    frames: int
    turned: int
    largest_score_move: float

    @property
    def holds(self) -> bool:
        """Whether masks and scores agree as well as was wanted."""
        return (
            self.mean_dice >= INT8_GATE.dice_from
            and self.largest_score_move <= INT8_GATE.score_within
        )


@dataclass(frozen=True)
class MalignancyAgreement:
    """How well two ResNet-18 agree over one set of regions.

    Attributes:
        images: The set.
        compared: How many regions have a malignancy.
        mean_move: Of it.
        largest_move: Of any.
        decisions_turned: How many decisions differ.
    """

    images: str
    compared: int
    mean_move: float
    largest_move: float
    decisions_turned: int

    @property
    def holds(self) -> bool:
        """Whether no malignancy moves further than was wanted."""
        return self.largest_move <= INT8_GATE.malignancy_within


def compare_masks(
    images: ImageSet, wanted: Arrays, got: Arrays, parameters: contract.CropperParameters
) -> MaskAgreement:
    """Compare the answers of TransUNet in FP32 with those in INT8.

    Raises:
        ParityError: No nodule is found in any image.
    """
    figures = _figures(contract.TRANSUNET, images, wanted, got, parameters)
    masks, scores = figures["dice"], figures[contract.OOD_SCORE.name]
    first, second = (
        answers[contract.OOD_SCORE.name].astype(np.float64) for answers in (wanted, got)
    )
    turned = (first <= contract.OOD_LIMIT) != (second <= contract.OOD_LIMIT)
    return MaskAgreement(
        images.source,
        masks.compared,
        masks.mean,
        masks.worst,
        len(turned),
        int(turned.sum()),
        scores.worst,
    )


def compare_malignancies(
    images: ImageSet, wanted: Arrays, got: Arrays, parameters: contract.CropperParameters
) -> MalignancyAgreement:
    """Compare the answers of ResNet-18 in FP32 with those in INT8.

    Raises:
        ParityError: NaN, which says `no nodule`, stand at different places.
    """
    moved = _figures(contract.RESNET18, images, wanted, got, parameters)[contract.MALIGNANCY.name]
    first, second = (answers[contract.DECISION.name] for answers in (wanted, got))
    return MalignancyAgreement(
        images.source, moved.compared, moved.mean, moved.worst, int((first != second).sum())
    )


def outline_dice(
    samples: Sequence[Sample], answers: Arrays, parameters: contract.CropperParameters
) -> float:
    """The mean Dice of TransUNet's masks and the radiologists' outlines, in the images' pixels."""
    maps = answers[contract.NODULE_PROBABILITY.name]
    found = []
    for sample, probability in zip(samples, maps, strict=True):
        nodules = find_nodules(probability[0].astype(np.uint8), sample.geometry, parameters)
        mask = np.zeros_like(sample.truth) if nodules is None else nodules.mask
        found.append(dice(mask, sample.truth))
    return float(np.mean(found))


def malignancy_auroc(labels: npt.NDArray[np.int64], answers: Arrays) -> float | None:
    """Area under the ROC curve of malignancies; None where all regions are of one class."""
    if len(set(labels.tolist())) < 2:
        return None
    scores = answers[contract.MALIGNANCY.name][:, 0].astype(np.float64)
    return float(auroc(labels, scores, np.ones((1, len(labels))))[0])


def _figures(
    model: contract.Model,
    images: ImageSet,
    wanted: Arrays,
    got: Arrays,
    parameters: contract.CropperParameters,
) -> dict[str, Agreement]:
    figures = judge(model, images, wanted, got, parameters, gate=INT8_GATE)
    return {each.figure: each for each in figures}
