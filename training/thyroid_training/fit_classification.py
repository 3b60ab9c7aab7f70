"""Fitting ResNet-18: regions of interest to malignancy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from thyroid_training.descriptors import CLASS_COUNTS
from thyroid_training.fit import Batch, FitConfig, Item, VariedSamples, fit
from thyroid_training.fit_segmentation import predict
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import normalise
from thyroid_training.transunet import TransUNet

Box = tuple[int, int, int, int]

# How far a box is jittered: TransUNet's boxes differ from the radiologist's by about as much.
_JITTER_SHARE = 0.1

# Of each descriptor's cross-entropy beside the grade's; five descriptors weigh as much as it.
_DESCRIPTOR_WEIGHT = 0.2


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


class MultiTask(nn.Module):
    """A ResNet-18 with a linear layer more for each of the radiologists' descriptors.

    Args:
        network: The classifier; the further layers share its features and are not served.
    """

    def __init__(self, network: ResNet18) -> None:
        super().__init__()
        self.network = network
        self.heads = nn.ModuleDict(
            {name: nn.Linear(network.fc.in_features, n) for name, n in CLASS_COUNTS.items()}
        )

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """FP32 [B, 1, S, S] to the logit of malignancy, [B, 1], and each descriptor's, [B, C]."""
        pooled = self.network.features(x).mean(dim=(2, 3))
        return self.network.fc(pooled), {name: head(pooled) for name, head in self.heads.items()}


def multi_task_loss(
    logit: Tensor,
    descriptor_logits: Mapping[str, Tensor],
    label: Tensor,
    descriptors: Tensor,
    malignant_weight: float,
) -> Tensor:
    """Cross-entropy of the grade, and of those descriptors that were given.

    Args:
        logit: FP32 [B, 1].
        descriptor_logits: FP32 [B, C] by descriptor.
        label: FP32 [B], 0 or 1.
        descriptors: INT64 [B, descriptors], the class, or -1 where nothing was said.
        malignant_weight: Weight of a malignant sample; a benign one weighs 1.

    Returns:
        FP32 scalar.
    """
    loss = F.binary_cross_entropy_with_logits(
        logit[:, 0], label, pos_weight=torch.tensor(malignant_weight, device=logit.device)
    )
    for column, logits in enumerate(descriptor_logits.values()):
        told = descriptors[:, column] >= 0
        # A sum over those told: a batch in which nobody was told anything adds nothing.
        wrong = F.cross_entropy(logits[told], descriptors[told, column], reduction="sum")
        loss = loss + _DESCRIPTOR_WEIGHT * wrong / len(descriptors)
    return loss


def fit_classification(
    network: ResNet18,
    nodules: Sequence[LabelledNodule],
    config: FitConfig,
    augment_config: AugmentConfig,
    after_epoch: Callable[[int, ResNet18], str],
    *,
    state_file: Path | None = None,
) -> ResNet18:
    """Fit a ResNet-18 from the weights that it has.

    The loss weighs both classes alike, since five in six nodules of the set are malignant: without
    it the network would learn to say so of every one. Calibration takes that back.

    Args:
        network: Fitted in place.
        nodules: With grades.
        config: How it is fitted.
        augment_config: How regions are varied.
        after_epoch: See `thyroid_training.fit.fit`.
        state_file: Likewise.

    Returns:
        The network with averaged weights, in evaluation mode.

    Raises:
        ValueError: There are too few nodules, or none of one grade.
    """
    labels = np.array([nodule.sample.label for nodule in nodules], np.float32)
    require_both_grades([nodule.sample.label for nodule in nodules], "what is fitted on")
    descriptors = np.array(
        [[nodule.sample.descriptors.get(name, -1) for name in CLASS_COUNTS] for nodule in nodules],
        np.int64,
    )
    malignant_weight = float((labels == 0).sum() / (labels == 1).sum())
    margin_share = contract.CropperParameters().margin_share
    everywhere = np.ones((contract.ROI_SIDE_PX, contract.ROI_SIDE_PX), np.bool_)

    def make(index: int, rng: np.random.Generator) -> Item:
        nodule = nodules[index]
        box = _jitter(nodule.boxes[rng.integers(len(nodule.boxes))], rng)
        roi = cut_roi(nodule.sample.frame, box, nodule.sample.geometry, margin_share)
        varied, _ = augment(roi, everywhere, rng, augment_config)
        return varied[None], labels[index], descriptors[index]

    def loss_of(network: MultiTask, batch: Batch) -> Tensor:
        roi, label, descriptor = batch
        inputs = normalise(roi.to(torch.float32))
        logit, others = network(inputs.contiguous(memory_format=torch.channels_last))
        with torch.autocast(roi.device.type, enabled=False):
            return multi_task_loss(
                logit.to(torch.float32),
                {name: logits.to(torch.float32) for name, logits in others.items()},
                label,
                descriptor,
                malignant_weight,
            )

    torch.manual_seed(config.seed)  # of the further layers' weights
    fitted = fit(
        MultiTask(network),
        VariedSamples(len(nodules), make, config.seed),
        loss_of,
        config,
        lambda epoch, averaged: after_epoch(epoch, averaged.network),
        state_file=state_file,
    )
    return fitted.network
