"""Pretraining ResNet-18, and the nodules that it and its linear layer are fitted on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thyroid_pipeline import contract
from thyroid_pipeline.nodules import find_nodules
from thyroid_pipeline.roi import cut_roi
from thyroid_training.augment import AugmentConfig, augment
from thyroid_training.classification_scores import require_both_grades
from thyroid_training.dataset import Sample
from thyroid_training.distillation import (
    Hints,
    Imitation,
    Teacher,
    imitation_loss,
    published_teacher,
)
from thyroid_training.fit import Batch, FitConfig, Item, VariedSamples, fit
from thyroid_training.fit_segmentation import predict
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import normalise
from thyroid_training.transunet import TransUNet

Box = tuple[int, int, int, int]

# How far a box is jittered: TransUNet's boxes differ from the radiologist's by about as much.
_JITTER_SHARE = 0.1

# Regions by which the teacher's channels are standardised.
_SCALED = 48


@dataclass(frozen=True)
class LabelledNodule:
    """A nodule with a grade, and the boxes by which it may be cut.

    Attributes:
        sample: Where it was found; its label is not None.
        boxes: The outlined box, and the predicted one where it overlaps with it.
    """

    sample: Sample
    boxes: tuple[Box, ...]


def largest_box(mask: npt.NDArray[np.bool_]) -> Box:
    """x, y, width, height of the largest 8-connected region of a mask with at least one pixel."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    x, y, width, height = (int(value) for value in stats[largest, : cv2.CC_STAT_AREA])
    return x, y, width, height


def outlined_nodules(samples: Sequence[Sample]) -> list[LabelledNodule]:
    """Box the lesions of all samples with a class, by outline alone."""
    return [
        LabelledNodule(sample, (largest_box(sample.truth),))
        for sample in samples
        if sample.label is not None
    ]


def labelled_nodules(samples: Sequence[Sample], segmentation: TransUNet) -> list[LabelledNodule]:
    """Box the nodules of all samples with a grade, by outline and by prediction.

    The classifier is served predicted boxes, so it is trained on them too; where the prediction
    missed the nodule altogether the grade says nothing about what was cut, and it is left out.

    Args:
        samples: With outlines.
        segmentation: In evaluation mode.

    Returns:
        One nodule for each graded sample.
    """
    graded = [sample for sample in samples if sample.label is not None]
    maps, _ = predict(segmentation, [sample.frame for sample in graded])
    nodules = []
    for sample, probability in zip(graded, maps, strict=True):
        boxes = [largest_box(sample.truth)]
        found = find_nodules(probability, sample.geometry, contract.CropperParameters())
        if found is not None and (found.largest & sample.truth).any():
            boxes.append(found.box)
        nodules.append(LabelledNodule(sample, tuple(boxes)))
    return nodules


def _jitter(box: Box, rng: np.random.Generator) -> Box:
    x, y, width, height = box
    reach = _JITTER_SHARE * max(width, height)
    dx, dy, grow = (round(value) for value in rng.uniform(-reach, reach, 3))
    return x + dx - grow, y + dy - grow, max(1, width + 2 * grow), max(1, height + 2 * grow)


class Pupil(nn.Module):
    """A ResNet-18 with what it is pretrained by; nothing of that is served.

    Args:
        network: The classifier.
        teacher: What it is to imitate.
    """

    def __init__(self, network: ResNet18, teacher: Teacher) -> None:
        super().__init__()
        self.network = network
        # The last stage answers for the lesion, so that all four learn; `ResNet18.fc` reads all.
        self.lesion = nn.Linear(network.stage_widths[-1], 1)
        self.imitation = Imitation(network.stage_widths, teacher.widths)

    def forward(self, x: Tensor) -> tuple[Tensor, Hints]:
        """FP32 [B, 1, S, S] to the logit of malignancy, [B, 1], and the imitation."""
        maps = self.network.maps(x)
        pooled = maps[-1].mean(dim=(2, 3))
        return self.lesion(pooled), self.imitation(maps, pooled)


def fit_classification(
    network: ResNet18,
    nodules: Sequence[LabelledNodule],
    config: FitConfig,
    augment_config: AugmentConfig,
    after_epoch: Callable[[int, ResNet18], str],
    *,
    state_file: Path | None = None,
) -> ResNet18:
    """Fit the stages of a ResNet-18 on labels and on its teacher's maps, see `distillation`.

    The loss weighs both classes alike, as the operating point is chosen later. The linear layer
    stays as it is: `linear_layer.fit_linear_layer` fits it.

    Args:
        network: Fitted in place.
        nodules: With labels.
        config: How it is fitted.
        augment_config: How regions are varied.
        after_epoch: See `thyroid_training.fit.fit`.
        state_file: Likewise.

    Returns:
        The network with averaged weights, in evaluation mode.

    Raises:
        ValueError: There are too few nodules, or none of one label.
    """
    labels = np.array([nodule.sample.label for nodule in nodules], np.float32)
    require_both_grades([nodule.sample.label for nodule in nodules], "what is fitted on")
    malignant_weight = torch.tensor(float((labels == 0).sum() / (labels == 1).sum()))
    margin_share = contract.CropperParameters().margin_share
    everywhere = np.ones((contract.ROI_SIDE_PX, contract.ROI_SIDE_PX), np.bool_)

    def make(index: int, rng: np.random.Generator) -> Item:
        nodule = nodules[index]
        box = _jitter(nodule.boxes[rng.integers(len(nodule.boxes))], rng)
        roi = cut_roi(nodule.sample.frame, box, nodule.sample.geometry, margin_share)
        varied, _ = augment(roi, everywhere, rng, augment_config)
        return varied[None], labels[index]

    generator = np.random.default_rng(config.seed)
    scaled_by = generator.integers(len(nodules), size=_SCALED)
    teacher = published_teacher(
        torch.from_numpy(np.array([make(int(index), generator)[0] for index in scaled_by]))
    )

    def loss_of(pupil: Pupil, batch: Batch) -> Tensor:
        roi, label = batch
        inputs = normalise(roi.to(torch.float32)).contiguous(memory_format=torch.channels_last)
        logit, imitated = pupil(inputs)
        seen = teacher.to(roi.device)(inputs)
        with torch.autocast(roi.device.type, enabled=False):
            grade = F.binary_cross_entropy_with_logits(
                logit[:, 0].to(torch.float32), label, pos_weight=malignant_weight.to(roi.device)
            )
            return grade + imitation_loss(imitated, seen)

    torch.manual_seed(config.seed)  # of the further layers' weights
    fitted = fit(
        Pupil(network, teacher),
        VariedSamples(len(nodules), make, config.seed),
        loss_of,
        config,
        lambda epoch, averaged: after_epoch(epoch, averaged.network),
        state_file=state_file,
    )
    return fitted.network
