"""From a map of probabilities to nodules: threshold, fill, keep what is large enough."""

from __future__ import annotations

import math
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
        probability: UINT8 [NETWORK_SIDE_PX, NETWORK_SIDE_PX], probability times 255, over the
            frame.
        geometry: Of the frame.
        parameters: Threshold and minimum area.

    Returns:
        The nodules, or None where there is none.
    """
    level = max(1, math.ceil(parameters.threshold * contract.PROBABILITY_SCALE))
    if int(probability.max()) < level:
        return None  # most frames without a nodule end here, before anything is scaled
    sector = (unletterbox(probability, geometry) >= level).astype(np.uint8)
    outlines, _ = cv2.findContours(sector, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(sector)
    cv2.drawContours(filled, outlines, -1, (1,), cv2.FILLED)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(filled, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    kept = 1 + np.flatnonzero(areas >= parameters.minimum_area_share * sector.size)
    if kept.size == 0:
        return None
    largest = 1 + int(areas.argmax())
    x, y, width, height = (int(value) for value in stats[largest, : cv2.CC_STAT_AREA])
    return Nodules(
        _on_image(np.isin(labels, kept), geometry),
        _on_image(labels == largest, geometry),
        (x + geometry.sector_x_px, y + geometry.sector_y_px, width, height),
    )


def _on_image(sector: npt.NDArray[np.bool_], geometry: Geometry) -> npt.NDArray[np.bool_]:
    image = np.zeros((geometry.image_height_px, geometry.image_width_px), np.bool_)
    rows = slice(geometry.sector_y_px, geometry.sector_y_px + geometry.sector_height_px)
    columns = slice(geometry.sector_x_px, geometry.sector_x_px + geometry.sector_width_px)
    image[rows, columns] = sector
    return image
