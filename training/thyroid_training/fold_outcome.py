"""What the networks of one fold say of images that they never saw: numbers, before any judgement.

Nothing is fitted to these here: calibration, thresholds and limits come after, from other folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch

from thyroid_pipeline import contract
from thyroid_pipeline.crop import Crop, crop_nodule
from thyroid_pipeline.mask_png import decode_mask
from thyroid_pipeline.roi import cut_roi
from thyroid_training.augment import augment
from thyroid_training.dataset import Sample, phantom_samples
from thyroid_training.figures_segmentation import ImageResult, measure_image
from thyroid_training.fit_segmentation import predict
from thyroid_training.fold_fits import FoldFits
from thyroid_training.foreign_frames import foreign_frames
from thyroid_training.forest_run import ForestTable, outlined_morphology, training_table
from thyroid_training.ood import relative_distances
from thyroid_training.protocol import FOLDS
from thyroid_training.recipe import Recipe
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import normalise
from thyroid_training.transunet import TransUNet

Logits = npt.NDArray[np.float64]

# Kinds of frames whose strangeness is measured, besides those of `foreign_frames`.
THYROIDS, PHANTOMS, BREASTS = "DDTI", "phantoms", "BUSI"
VARIED_THYROIDS, VARIED_PHANTOMS = "DDTI, varied as in training", "phantoms, varied as in training"

# Phantoms on which is judged, never trained on; each fold's networks judge their own.
_JUDGED_PHANTOM_SEED = 500_000
_JUDGED_PHANTOMS = 200
# Phantoms by which the gate knows phantoms; neither trained nor judged on.
_GATE_PHANTOM_SEED = 700_000
_GATE_PHANTOMS = 300
_GATE_NODULE_SHARE = 0.6
# About twice as many frames as features, for a covariance worth the name.
_THYROID_COPIES, _PHANTOM_COPIES = 2, 1
_VARIED_SEED = 800_000
_FOREIGN_SEED = 900_000
_MADE_FRAMES = 100


@dataclass(frozen=True, eq=False)
class GateDistances:
    """How far frames lie from what the gate knows, in units of each set's own median distance.

    Attributes:
        names: Of the frames.
        thyroids: FP32 [N], from the thyroids that the networks were fitted on.
        phantoms: FP32 [N], from phantoms.
    """

    names: tuple[str, ...]
    thyroids: npt.NDArray[np.float32]
    phantoms: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FoldOutcome:
    """One fold's numbers.

    Attributes:
        fold: Which was held out.
        images: How each held-out image was segmented.
        graded: Held-out samples with a grade, N of them.
        masks: Predicted masks of all held-out images, by name.
        truths: Their outlines.
        logits: FP64 [seeds, N] of the graded, uncalibrated; NaN where no nodule was found.
        crops: Of the graded.
        evidence: FP32 [N, EVIDENCE_SIDE, EVIDENCE_SIDE] by the first seed, uncalibrated.
        nodules: bool [N, ROI_SIDE_PX, ROI_SIDE_PX], true outlines, cut as the regions were.
        classification: The first seed's network.
        outlined_table: Training table of the other folds by outlines.
        predicted_table: By outlines and predictions.
        outlined: FP32 [N, fields], figures of the graded by outline.
        phantoms: Names of phantoms, whether there is a nodule and whether one was found.
        distances: Of the held-out images, of phantoms and of foreign frames, by set.
    """

    fold: int
    images: tuple[ImageResult, ...]
    graded: tuple[Sample, ...]
    masks: Mapping[str, npt.NDArray[np.bool_]]
    truths: Mapping[str, npt.NDArray[np.bool_]]
    logits: Logits
    crops: tuple[Crop, ...]
    evidence: npt.NDArray[np.float32]
    nodules: npt.NDArray[np.bool_]
    classification: ResNet18
    outlined_table: ForestTable
    predicted_table: ForestTable
    outlined: npt.NDArray[np.float32]
    phantoms: tuple[tuple[str, bool, bool], ...]
    distances: Mapping[str, GateDistances]


def judge_fold(fits: FoldFits, fold: int) -> FoldOutcome:
    """Fit or read the networks of a fold and run what they never saw through them.

    Args:
        fits: All fits.
        fold: Which is held out.

    Returns:
        The fold's numbers.
    """
    held_out = fits.held_out(fold)
    segmentation = fits.segmentation(fold)
    networks = [
        fits.classification(fold, segmentation, seed) for seed in fits.recipe.classification_seeds
    ]
    maps, seen = predict(segmentation, [sample.frame for sample in held_out])
    crops = _crop(held_out, maps)
    graded = [row for row, sample in enumerate(held_out) if sample.label is not None]
    masks = [decode_mask(crop.mask) for crop in crops]
    others = fits.fitted_on(fold)
    other_maps, other_features = predict(segmentation, [sample.frame for sample in others])
    phantoms = phantom_samples(
        _JUDGED_PHANTOMS // FOLDS, _JUDGED_PHANTOM_SEED + fold * _JUDGED_PHANTOMS, 0.5
    )
    phantom_maps, phantom_features = predict(segmentation, [s.frame for s in phantoms])
    names = tuple(sample.name for sample in held_out)
    phantom_names = tuple(sample.name for sample in phantoms)
    varied = varied_frames(held_out, fits.recipe, copies=1)
    varied_phantoms = varied_frames(phantoms, fits.recipe, copies=1)
    features = {
        THYROIDS: (names, seen),
        VARIED_THYROIDS: (names, predict(segmentation, varied)[1]),
        PHANTOMS: (phantom_names, phantom_features),
        VARIED_PHANTOMS: (phantom_names, predict(segmentation, varied_phantoms)[1]),
        **_foreign_features(fits, fold, segmentation, held_out),
    }
    known = known_features(segmentation, others, other_features, fits.recipe)
    return FoldOutcome(
        fold=fold,
        images=tuple(
            measure_image(sample.name, sample.group, fold, mask, sample.truth)
            for sample, mask in zip(held_out, masks, strict=True)
        ),
        graded=tuple(held_out[row] for row in graded),
        masks={sample.name: mask for sample, mask in zip(held_out, masks, strict=True)},
        truths={sample.name: sample.truth for sample in held_out},
        logits=np.array([[region_logit(net, crops[row]) for row in graded] for net in networks]),
        crops=tuple(crops[row] for row in graded),
        evidence=np.array([region_evidence(networks[0], crops[row].roi) for row in graded]),
        nodules=np.array([_true_region(held_out[row], crops[row]) for row in graded]),
        classification=networks[0],
        outlined_table=training_table(others),
        predicted_table=training_table(others, other_maps),
        outlined=outlined_morphology([held_out[row] for row in graded]),
        phantoms=tuple(
            (sample.name, bool(sample.truth.any()), crop.nodule_found)
            for sample, crop in zip(phantoms, _crop(phantoms, phantom_maps), strict=True)
        ),
        distances={
            kind: GateDistances(
                names,
                relative_distances(known.thyroids, asked),
                relative_distances(known.phantoms, asked),
            )
            for kind, (names, asked) in features.items()
        },
    )


def _crop(samples: Sequence[Sample], maps: Sequence[npt.NDArray[np.uint8]]) -> list[Crop]:
    parameters = contract.CropperParameters()
    return [
        crop_nodule(sample.frame, probability, sample.geometry, parameters)
        for sample, probability in zip(samples, maps, strict=True)
    ]


@torch.no_grad()
def region_logits(network: ResNet18, rois: npt.NDArray[np.uint8]) -> Logits:
    """Uncalibrated logits of regions: UINT8 [N, ROI_SIDE_PX, ROI_SIDE_PX] to FP64 [N]."""
    inputs = normalise(torch.from_numpy(rois)[:, None].to(torch.float32))
    return np.asarray(network(inputs)[:, 0].double().numpy())


def region_logit(network: ResNet18, crop: Crop) -> float:
    """Uncalibrated logit of one crop, NaN where no nodule was found."""
    return float(region_logits(network, crop.roi[None])[0]) if crop.nodule_found else np.nan


@torch.no_grad()
def region_evidence(network: ResNet18, roi: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The class activation map, uncalibrated: FP32 [EVIDENCE_SIDE, EVIDENCE_SIDE]."""
    features = network.features(normalise(torch.from_numpy(roi)[None, None].to(torch.float32)))
    return np.asarray((features[0] * network.fc.weight[0, :, None, None]).sum(dim=0).numpy())


def _true_region(sample: Sample, crop: Crop) -> npt.NDArray[np.bool_]:
    """The outline, cut as the region was; nothing where no nodule was found."""
    x, y, width, height = (int(value) for value in crop.box)
    if not crop.nodule_found:
        return np.zeros((contract.ROI_SIDE_PX, contract.ROI_SIDE_PX), np.bool_)
    full = np.where(sample.mask, np.uint8(255), np.uint8(0))
    margin = contract.CropperParameters().margin_share
    return cut_roi(full, (x, y, width, height), sample.geometry, margin) >= 128


_Features = tuple[tuple[str, ...], npt.NDArray[np.float32]]


def _foreign_features(
    fits: FoldFits, fold: int, segmentation: TransUNet, held_out: Sequence[Sample]
) -> dict[str, _Features]:
    """Names and features of frames that are no thyroids, by kind."""
    # Each breast is judged by one fold's networks. A recipe may pretrain on it, which would only
    # make it more familiar than another breast.
    breasts = [sample for number, sample in enumerate(fits.sets.busi) if number % FOLDS == fold]
    names = tuple(sample.name for sample in breasts)
    features = {BREASTS: (names, predict(segmentation, [sample.frame for sample in breasts])[1])}
    thyroids = [sample.frame for sample in held_out]
    foreign = foreign_frames(thyroids, _MADE_FRAMES // FOLDS, _FOREIGN_SEED + fold)
    for kind, frames in foreign.items():
        names = tuple(f"{kind} {fold}_{number}" for number in range(len(frames)))
        features[kind] = (names, predict(segmentation, frames)[1])
    return features


@dataclass(frozen=True, eq=False)
class KnownFeatures:
    """Features of frames by which the gate knows what TransUNet was fitted on: FP32 [N, width]."""

    thyroids: npt.NDArray[np.float32]
    phantoms: npt.NDArray[np.float32]


def known_features(
    segmentation: TransUNet,
    thyroids: Sequence[Sample],
    seen: npt.NDArray[np.float32],
    recipe: Recipe,
) -> KnownFeatures:
    """Features of thyroids and of phantoms, as they are and varied as in training.

    The network was fitted on varied frames, so it knows them, and so must its gate: by the frames
    as they are alone it would flag nine in ten that differ in gain and zoom.

    Args:
        segmentation: The network.
        thyroids: Samples that it was fitted on.
        seen: FP32 [N, width], features of their frames as they are, as `predict` gives them.
        recipe: By which; how frames are varied.

    Returns:
        The features of both sets.
    """
    phantoms = _gate_phantoms()
    frames = [
        *(sample.frame for sample in phantoms),
        *varied_frames(phantoms, recipe, _PHANTOM_COPIES),
    ]
    varied = varied_frames(thyroids, recipe, _THYROID_COPIES)
    return KnownFeatures(
        np.concatenate([seen, predict(segmentation, varied)[1]]), predict(segmentation, frames)[1]
    )


@cache
def _gate_phantoms() -> list[Sample]:
    """The same for every fold, and minutes to make."""
    return phantom_samples(_GATE_PHANTOMS, _GATE_PHANTOM_SEED, _GATE_NODULE_SHARE)


def varied_frames(
    samples: Sequence[Sample], recipe: Recipe, copies: int
) -> list[npt.NDArray[np.uint8]]:
    """Frames varied as in training, `copies` of each; the same ones each time."""
    generator = np.random.default_rng(_VARIED_SEED)
    return [
        augment(sample.frame, sample.mask, generator, recipe.augment)[0]
        for _ in range(copies)
        for sample in samples
    ]
