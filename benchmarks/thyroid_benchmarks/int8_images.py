"""The images of the trial: some to find ranges over, others to judge by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thyroid_export.mixed_parity import ImageSet, classification_set
from thyroid_export.parity_inputs import Frames, folder_frames, phantom_frames
from thyroid_pipeline import contract
from thyroid_pipeline.roi import cut_roi
from thyroid_training.dataset import Sample, read_ddti
from thyroid_training.fit_classification import outlined_nodules

DDTI = "ddti"
# Seeds of phantoms that ranges are found over lie so far behind those of the judged ones.
_APART = 100_000


@dataclass(frozen=True)
class TrialImages:
    """What the trial is made with.

    Attributes:
        calibration: Sets of frames over which ranges are found; none of them is judged by.
        phantoms: How many phantoms are judged by.
        seed: Of the first of them.
        samples: Outlined images that are judged by; empty without a set of them.
    """

    calibration: tuple[Frames, ...]
    phantoms: int
    seed: int
    samples: tuple[Sample, ...]

    def calibration_text(self) -> str:
        """What ranges are found over, for a reader."""
        return ", ".join(f"{len(each.frames)} {each.source}" for each in self.calibration)


def gather_images(
    *,
    phantoms: int,
    seed: int,
    calibration: int,
    folder: Path | None,
    data: Path | None,
    data_limit: int,
) -> TrialImages:
    """Read and make the images.

    Args:
        phantoms: How many to judge by.
        seed: Of the first phantom.
        calibration: How many of each kind to find ranges over: phantoms, and images of the folder
            or else of the set.
        folder: Images to find ranges over; None takes some of the set.
        data: Folder with the set `ddti`; None judges by phantoms alone.
        data_limit: At most so many images of the set to judge by, spread evenly.

    Raises:
        FileNotFoundError: The folder holds no such set.
        ValueError: The folder holds no image that can be screened, or the set is too small to be
            divided.
    """
    ranges = [phantom_frames(calibration, seed + _APART)]
    samples = [] if data is None else read_ddti(data / DDTI)
    if folder is not None:
        ranges.append(folder_frames(folder, calibration))
    elif samples:
        used, samples = _divide(samples, calibration)
        ranges.append(sample_frames(used))
    return TrialImages(tuple(ranges), phantoms, seed, tuple(spread(samples, data_limit)))


def _divide(samples: Sequence[Sample], count: int) -> tuple[list[Sample], list[Sample]]:
    """Some samples, evenly spread, and those of all patients that are not among them."""
    used = spread(samples, count)
    patients = {sample.group for sample in used}
    left = [sample for sample in samples if sample.group not in patients]
    if not left:
        raise ValueError(
            f"{len(used)} of {len(samples)} images were to be set aside to find ranges over, and "
            "no other patient is left to judge by: give a smaller --calibration-limit, or images "
            "with --calibration"
        )
    return used, left


def spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most so many samples, evenly spread over their order."""
    kept = min(count, len(samples))
    return [samples[row * len(samples) // kept] for row in range(kept)]


def sample_frames(samples: Sequence[Sample]) -> Frames:
    """Samples as frames."""
    frames = np.stack([sample.frame for sample in samples])[:, np.newaxis]
    return Frames(DDTI, frames, tuple(sample.geometry for sample in samples))


def outlined_regions(
    samples: Sequence[Sample], margin_share: float
) -> tuple[ImageSet, npt.NDArray[np.int64]] | None:
    """The graded nodules of samples as inputs of `contract.RESNET18`, cut by their outlines.

    Args:
        samples: With outlines.
        margin_share: The cropper's.

    Returns:
        The regions, each of a nodule in distribution, and 1 for each that is malignant. None where
        no sample has a grade.
    """
    nodules = outlined_nodules(samples)
    if not nodules:
        return None
    regions = np.stack(
        [
            cut_roi(one.sample.frame, one.boxes[0], one.sample.geometry, margin_share)
            for one in nodules
        ]
    )
    labels = np.array([one.sample.label for one in nodules], np.int64)
    return ImageSet(DDTI, _in_distribution(regions[:, np.newaxis])), labels


def calibration_regions(frames: Sequence[Frames], repository: Path) -> ImageSet:
    """The regions that the repository's TransUNet finds in frames, to find ranges over.

    Raises:
        ValueError: It finds none.
    """
    sets = [classification_set(each, repository).inputs for each in frames]
    regions, found = (np.concatenate([inputs[place] for inputs in sets]) for place in (0, 1))
    kept = regions[found[:, 0].astype(np.bool_)]
    if not len(kept):
        raise ValueError(
            f"TransUNet finds no nodule in any of the {len(regions)} frames, so that ResNet-18 has "
            "no region to find ranges over: name images of nodules with --calibration"
        )
    return ImageSet("regions", _in_distribution(kept))


def _in_distribution(regions: npt.NDArray[np.generic]) -> list[npt.NDArray[np.generic]]:
    count = len(regions)
    return [
        regions,
        np.ones((count, *contract.NODULE_FOUND.shape), np.bool_),
        np.zeros((count, *contract.OOD_SCORE.shape), np.float32),
    ]
