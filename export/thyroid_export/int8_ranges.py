"""The images over which the ranges of a network in INT8 are found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from thyroid_export.mixed_parity import ImageSet, classification_set, in_distribution
from thyroid_export.parity_inputs import Frames, phantom_frames
from thyroid_pipeline import contract

RANGE_PHANTOMS = 32
# Their seeds lie so far behind those of the phantoms that a network is judged by.
_APART = 100_000


def range_phantoms(count: int = RANGE_PHANTOMS, seed: int = 0) -> Frames:
    """Make phantoms to find ranges over.

    Args:
        count: How many.
        seed: Of the first phantom that is judged by; none of these is among those from it on.
    """
    return phantom_frames(count, seed + _APART)


def range_inputs(model: contract.Model, frames: Sequence[Frames], repository: Path) -> ImageSet:
    """Frames as inputs of a network to find ranges over.

    Args:
        model: `contract.TRANSUNET`, or `contract.RESNET18`, which gets the regions that TransUNet
            finds in the frames.
        frames: One set at least.
        repository: With TransUNet in FP32 and the cropper's config.

    Raises:
        ValueError: TransUNet finds no region.
    """
    if model == contract.TRANSUNET:
        return ImageSet("frames", [np.concatenate([each.frames for each in frames])])
    sets = [classification_set(each, repository).inputs for each in frames]
    regions, found = (np.concatenate([inputs[place] for inputs in sets]) for place in (0, 1))
    kept = regions[found[:, 0].astype(np.bool_)]
    if not len(kept):
        raise ValueError(
            f"TransUNet finds no nodule in any of the {len(regions)} frames, so that ResNet-18 has "
            "no region to find ranges over: name images of nodules, or a repository with a trained "
            "TransUNet"
        )
    return ImageSet("regions", in_distribution(kept))
