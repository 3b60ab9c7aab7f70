"""How well outlines agree with the radiologist's, and whether a nodule is seen at all.

Everything is measured on masks of the original image, in its pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_training.bootstrap import Interval, Weights, group_intervals, weighted_mean
from thyroid_training.mask_agreement import Mask, dice, hausdorff95_px, iou

_HALF = 0.5


@dataclass(frozen=True)
class ImageResult:
    """How one image with a nodule was segmented by a network that never saw its patient.

    Attributes:
        id: The image's id in its set.
        group: Its patient.
        fold: That was held out.
        dice: 0 to 1.
        iou: 0 to 1.
        hausdorff95_px: At least 0, in pixels of the original image; NaN where no nodule was found.
        found: Whether a nodule was found.
        seed: Of the fit.
    """

    id: str
    group: str
    fold: int
    dice: float
    iou: float
    hausdorff95_px: float
    found: bool
    seed: int = 0


@dataclass(frozen=True, eq=False)
class NoduleDetection:
    """Whether nodules are seen where there are some, and not where there are none.

    Attributes:
        name: What the frames are.
        groups: Of N frames: the patient, or the frame itself.
        present: bool [N], whether there is a nodule.
        found: bool [runs, N], whether one was found, by each network.
    """

    name: str
    groups: tuple[str, ...]
    present: Mask
    found: Mask

    def __post_init__(self) -> None:
        count = len(self.groups)
        if self.present.shape != (count,) or self.found.shape[1:] != (count,):
            raise ValueError(
                f"{self.name}: {count} groups, `present` {self.present.shape} and `found` "
                f"{self.found.shape} came; [N] and [runs, N] of the same N were wanted"
            )


def measure_image(
    image: str, group: str, fold: int, predicted: Mask, truth: Mask, *, seed: int = 0
) -> ImageResult:
    """Measure one prediction.

    Args:
        image: Id.
        group: Patient.
        fold: Held out.
        predicted: bool [height, width] of the original image.
        truth: Likewise.
        seed: Of the fit.

    Returns:
        Its figures; a nodule counts as found where the predicted mask holds a pixel.

    Raises:
        ValueError: The masks differ in size.
    """
    return ImageResult(
        id=image,
        group=group,
        fold=fold,
        dice=dice(predicted, truth),
        iou=iou(predicted, truth),
        hausdorff95_px=hausdorff95_px(predicted, truth),
        found=bool(predicted.any()),
        seed=seed,
    )


def segmentation_intervals(
    results: Sequence[ImageResult],
) -> dict[str, Interval]:
    """Figures over all images, averaged over seeds, with intervals over patients.

    Args:
        results: Of every seed, each with the same images.

    Returns:
        By name: `dice_mean`, `dice_median`, `iou_mean`, `hausdorff95_mean_px` and
        `hausdorff95_median_px` over the images in which a nodule was found,
        `hausdorff95_undefined_share`, `dice_below_half_share` and `nodule_found_share`.

    Raises:
        ValueError: There is no result, or a seed lacks an image or has one twice.
    """
    table = SeedTable(results)
    dices, distances = (
        table.values(lambda result: result.dice),
        table.values(lambda result: result.hausdorff95_px),
    )
    per_image = {
        "dice_mean": dices,
        "iou_mean": table.values(lambda result: result.iou),
        "hausdorff95_mean_px": distances,
        "hausdorff95_undefined_share": np.isnan(distances),
        "dice_below_half_share": dices < _HALF,
        "nodule_found_share": table.values(lambda result: result.found),
    }
    medians = {"dice_median": dices, "hausdorff95_median_px": distances}

    def figures(weights: Weights) -> dict[str, npt.NDArray[np.float64]]:
        means = {
            name: np.mean([weighted_mean(row.astype(np.float64), weights) for row in rows], axis=0)
            for name, rows in per_image.items()
        }
        middles = {
            name: np.mean([_weighted_median(row, weights) for row in rows], axis=0)
            for name, rows in medians.items()
        }
        return {**means, **middles}

    return group_intervals(table.groups, figures)


def _weighted_median(values: npt.NDArray[np.float64], weights: Weights) -> npt.NDArray[np.float64]:
    """Median of each resample's defined values; the mean of the middle two where they are even."""
    order = np.argsort(values)[: int(np.isfinite(values).sum())]  # NaN is sorted to the end
    if order.size == 0:
        return np.full(len(weights), np.nan)
    reached = np.cumsum(weights[:, order], axis=1)
    half = reached[:, -1:] / 2
    lower = np.argmax(reached >= half, axis=1)
    upper = np.argmax(reached > half, axis=1)
    middle = (values[order][lower] + values[order][upper]) / 2
    return np.where(reached[:, -1] > 0, middle, np.nan)


class SeedTable:
    """Results of several seeds, as arrays of one row for each seed and one column for each image.

    Attributes:
        seeds: Ascending.
        ids: Of the images, ascending.
        groups: Patient of each image.
        folds: Fold of each image by seed, INT64 [seeds, N].
    """

    def __init__(self, results: Sequence[ImageResult]) -> None:
        self.seeds = sorted({result.seed for result in results})
        self.ids = sorted({result.id for result in results})
        self._rows = {(result.seed, result.id): result for result in results}
        wanted = len(self.seeds) * len(self.ids)
        if not results or len(results) != wanted or len(self._rows) != wanted:
            raise ValueError(
                f"{len(results)} results of {len(self.seeds)} seeds and {len(self.ids)} images "
                f"came; one for each seed and image ({wanted}) and at least one were wanted: give "
                "every seed the same images, each once"
            )
        self.groups = [self._rows[self.seeds[0], image].group for image in self.ids]
        self.folds = self.values(lambda result: result.fold).astype(np.int64)

    def values(self, of: Callable[[ImageResult], float]) -> npt.NDArray[np.float64]:
        """A number of each result, FP64 [seeds, N]."""
        return np.array(
            [[of(self._rows[seed, image]) for image in self.ids] for seed in self.seeds],
            np.float64,
        )


def detection_intervals(detection: NoduleDetection) -> dict[str, Interval]:
    """Sensitivity and specificity of "a nodule was found", with intervals over groups.

    Args:
        detection: What was there and what was found.

    Returns:
        `sensitivity` over the frames with a nodule and `specificity` over those without, each only
        where there are such frames.
    """
    parts = {
        "sensitivity": (detection.present, detection.found),
        "specificity": (~detection.present, ~detection.found),
    }

    def figures(weights: Weights) -> dict[str, npt.NDArray[np.float64]]:
        return {
            name: np.mean(
                [weighted_mean(np.where(where, right, np.nan), weights) for right in rights], axis=0
            )
            for name, (where, rights) in parts.items()
            if where.any()
        }

    return group_intervals(detection.groups, figures, classes=detection.present.astype(np.int64))
