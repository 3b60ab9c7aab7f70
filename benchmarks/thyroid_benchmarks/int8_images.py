"""The images of the trial: some to find ranges over, others to judge by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thyroid_export.int8_ranges import range_phantoms
from thyroid_export.mixed_parity import ImageSet, in_distribution
from thyroid_export.parity_inputs import Frames, folder_frames
from thyroid_pipeline.roi import cut_roi
from thyroid_training.dataset import Sample, read_ddti
from thyroid_training.fit_classification import outlined_nodules

DDTI = "ddti"


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
        calibration: How many of each kind to find ranges over: phantoms, and images of the folder.
        folder: Images to find ranges over beside phantoms; None takes phantoms alone.
        data: Folder with the set `ddti`; None judges by phantoms alone.
        data_limit: At most so many images of the set to judge by, spread evenly.

    Raises:
        FileNotFoundError: The folder holds no such set.
        ValueError: The folder holds no image that can be screened.
    """
    ranges = [range_phantoms(calibration, seed)]
    if folder is not None:
        ranges.append(folder_frames(folder, calibration))
    samples = [] if data is None else read_ddti(data / DDTI)
    return TrialImages(tuple(ranges), phantoms, seed, tuple(spread(samples, data_limit)))


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
    return ImageSet(DDTI, in_distribution(regions[:, np.newaxis])), labels
