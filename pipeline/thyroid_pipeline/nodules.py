"""From a map of probabilities to nodules: threshold, fill, keep what is large enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from thyroid_pipeline import contract
from thyroid_pipeline.letterbox import Geometry, unletterbox


@dataclass(frozen=True)
class Nodules:
    """What was found in one image.

    Attributes:
        mask: bool [image_height_px, image_width_px], every nodule.
        largest: bool of the same shape, the largest alone.
        box: x, y, width, height of the largest in pixels of the upright image.
    """

    mask: npt.NDArray[np.bool_]
    largest: npt.NDArray[np.bool_]
    box: tuple[int, int, int, int]


def find_nodules(
    probability: npt.NDArray[np.uint8],
    geometry: Geometry,
    parameters: contract.CropperParameters,
) -> Nodules | None:
    """Find the nodules in a map of probabilities.

    The map is scaled to the image first and thresholded there, so that outlines are smooth at the
    image's own resolution. Holes are filled, since a nodule's inside belongs to it; regions
    (8-connected) smaller than the minimum are dropped.

    Args:
        probability: UINT8 [MAP_SIDE_PX, MAP_SIDE_PX], probability times 255, over the
            frame.
        geometry: Of the frame.
        parameters: Threshold and minimum area.

    Returns:
        The nodules, or None where there is none.
    """
    level = max(1, math.ceil(parameters.threshold * contract.PROBABILITY_SCALE))
    if int(probability.max()) < level:
        return None  # most frames without a nodule end here, before anything is scaled
    scaled = unletterbox(probability, geometry)
    outlines, _ = cv2.findContours(
        np.asarray(cv2.threshold(scaled, level - 1, 1, cv2.THRESH_BINARY)[1], np.uint8),
        cv2.RETR_EXTERNAL,
        cv2.CHAIN_APPROX_NONE,
    )
    minimum_px2 = parameters.minimum_area_share * scaled.size
    regions = [_fill(outline) for outline in outlines if _may_hold(outline, minimum_px2)]
    kept = [region for region in regions if region.area_px2 >= minimum_px2]
    if not kept:
        return None
    # Of equals the upper one, as a reader meets them.
    largest = max(kept, key=lambda region: (region.area_px2, -region.y_px, -region.x_px))
    return Nodules(
        _on_image(kept, geometry),
        _on_image([largest], geometry),
        (
            largest.x_px + geometry.sector_x_px,
            largest.y_px + geometry.sector_y_px,
            largest.filled.shape[1],
            largest.filled.shape[0],
        ),
    )


@dataclass(frozen=True)
class _Region:
    """One region with its holes filled: where its box begins in the sector, and what is in it."""

    x_px: int
    y_px: int
    filled: npt.NDArray[np.uint8]
    area_px2: int


def _may_hold(outline: cv2.typing.MatLike, area_px2: float) -> bool:
    """Whether the outline's box is so large: spares filling the specks of a ragged map."""
    _, _, width, height = cv2.boundingRect(outline)
    return width * height >= area_px2


def _fill(outline: cv2.typing.MatLike) -> _Region:
    x, y, width, height = cv2.boundingRect(outline)
    filled = np.zeros((height, width), np.uint8)
    cv2.drawContours(filled, [outline], -1, (1,), cv2.FILLED, offset=(-x, -y))
    return _Region(x, y, filled, cv2.countNonZero(filled))


def _on_image(regions: Sequence[_Region], geometry: Geometry) -> npt.NDArray[np.bool_]:
    image = np.zeros((geometry.image_height_px, geometry.image_width_px), np.bool_)
    for region in regions:
        height, width = region.filled.shape
        top, left = geometry.sector_y_px + region.y_px, geometry.sector_x_px + region.x_px
        # Boxes of regions may overlap, the regions do not.
        image[top : top + height, left : left + width] |= region.filled.astype(np.bool_)
    return image
