"""Fitting ResNet-18: regions of interest to malignancy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from thyroid_pipeline import contract
from thyroid_pipeline.nodules import find_nodules
from thyroid_pipeline.roi import cut_roi
from thyroid_training.augment import AugmentConfig, augment
from thyroid_training.dataset import Sample
from thyroid_training.evaluate import require_both_grades
from thyroid_training.fit import FitConfig, fit
from thyroid_training.fit_segmentation import predict_probability
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import normalise
from thyroid_training.transunet import TransUNet

Box = tuple[int, int, int, int]

# How far a box is jittered: TransUNet's boxes differ from the radiologist's by about as much.
_JITTER_SHARE = 0.1


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
    maps = predict_probability(segmentation, [sample.frame for sample in graded])
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


def fit_classification(
    nodules: Sequence[LabelledNodule],
    config: FitConfig,
    augment_config: AugmentConfig,
    after_epoch: Callable[[int, ResNet18], str],
) -> ResNet18:
    """Fit a ResNet-18 from nothing.

    The loss weighs both classes alike, since five in six nodules of the set are malignant: without
    it the network would learn to say so of every one.

    Args:
        nodules: With grades.
        config: How it is fitted.
        augment_config: How regions are varied.
        after_epoch: See `thyroid_training.fit.fit`.

    Returns:
        The network with averaged weights, in evaluation mode.

    Raises:
        ValueError: There are too few nodules, or none of one grade.
    """
    labels = np.array([nodule.sample.label for nodule in nodules], np.float32)
    require_both_grades([nodule.sample.label for nodule in nodules], "what is fitted on")
    torch.manual_seed(config.seed)
    network = ResNet18()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    malignant_weight = torch.tensor((labels == 0).sum() / (labels == 1).sum())
    margin_share = contract.CropperParameters().margin_share
    everywhere = np.ones((contract.ROI_SIDE_PX, contract.ROI_SIDE_PX), np.bool_)

    def loss_of(network: ResNet18, chosen: Sequence[int], rng: np.random.Generator) -> Tensor:
        rois = []
        for index in chosen:
            nodule = nodules[index]
            box = _jitter(nodule.boxes[rng.integers(len(nodule.boxes))], rng)
            roi = cut_roi(nodule.sample.frame, box, nodule.sample.geometry, margin_share)
            rois.append(augment(roi, everywhere, rng, augment_config)[0])
        inputs = normalise(torch.from_numpy(np.stack(rois)[:, None]).to(torch.float32))
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(inputs.contiguous(memory_format=torch.channels_last))
        truth = torch.from_numpy(labels[list(chosen)])[:, None]
        return F.binary_cross_entropy_with_logits(
            logits.to(torch.float32), truth, pos_weight=malignant_weight
        )

    return fit(network, len(nodules), loss_of, config, after_epoch)
