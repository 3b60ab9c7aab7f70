"""How far two masks of the same image agree."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

_HAUSDORFF_PERCENTILE = 95

Mask = npt.NDArray[np.bool_]


def dice(predicted: Mask, truth: Mask) -> float:
    """Dice coefficient 2|A and B| / (|A| + |B|) (Dice, Ecology 26, 1945).

    Args:
        predicted: bool, any shape.
        truth: bool, the same shape.

    Returns:
        0 to 1; 1 where both are empty, since nothing was missed and nothing invented.

    Raises:
        ValueError: The masks differ in shape.
    """
    _check_same_shape(predicted, truth)
    total = int(predicted.sum()) + int(truth.sum())
    return 1.0 if total == 0 else 2 * int((predicted & truth).sum()) / total


def iou(predicted: Mask, truth: Mask) -> float:
    """Intersection over union |A and B| / |A or B| (Jaccard, New Phytologist 11, 1912).

    Args:
        predicted: bool, any shape.
        truth: bool, the same shape.

    Returns:
        0 to 1; 1 where both are empty.

    Raises:
        ValueError: The masks differ in shape.
    """
    _check_same_shape(predicted, truth)
    union = int((predicted | truth).sum())
    return 1.0 if union == 0 else int((predicted & truth).sum()) / union


def hausdorff95_px(predicted: Mask, truth: Mask) -> float:
    """Distance within which 95% of each outline lies from the other, whichever is the greater.

    The outline is the mask's pixels that have a neighbour outside it, left, right, above or below;
    beyond the picture is outside. Distances are Euclidean, between centres of pixels. The 95th
    percentile is taken each way and the greater of the two is the figure: percentiles over both
    ways together would let a long, good outline hide a short, bad one.

    Args:
        predicted: bool [height, width].
        truth: bool, the same shape.

    Returns:
        Pixels, at least 0. 0 where both are empty: they are equal. NaN where one is: there is no
        distance from nothing, and a stand-in such as the picture's diagonal would make the mean a
        figure of the picture's size. The share of such images is reported beside the mean.

    Raises:
        ValueError: The masks differ in shape.
    """
    _check_same_shape(predicted, truth)
    if not predicted.any() and not truth.any():
        return 0.0
    if not predicted.any() or not truth.any():
        return float("nan")
    one, other = outline(predicted), outline(truth)
    return max(_percentile_distance_px(one, other), _percentile_distance_px(other, one))


def outline(mask: Mask) -> Mask:
    """Pixels of a mask that have a neighbour outside it, left, right, above or below."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    padded = np.pad(mask, 1).astype(np.uint8)
    inner = cv2.erode(padded, cross)[1:-1, 1:-1]
    return np.asarray(mask & (inner == 0))


def _percentile_distance_px(start: Mask, end: Mask) -> float:
    away = cv2.distanceTransform((~end).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(np.percentile(away[start], _HAUSDORFF_PERCENTILE))


def _check_same_shape(predicted: Mask, truth: Mask) -> None:
    if predicted.shape != truth.shape:
        raise ValueError(
            f"a predicted mask of shape {predicted.shape} and a true one of {truth.shape} came; "
            "the same shape was wanted: bring both to the original image's pixels"
        )
