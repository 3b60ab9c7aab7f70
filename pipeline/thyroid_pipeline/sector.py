"""Finding the ultrasound sector in an exported picture, so that nothing else reaches a network.

Exports carry text, scales and marks around the sector, and on some the text names the diagnosis. A
network that saw it would read the answer instead of the tissue.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from thyroid_pipeline.errors import ImageError

# Grey value from which a pixel counts as echo. The console's black is 0 to 4 after JPEG.
_ECHO_LEVEL = 8
# Tissue is dense: in a window of this share of the picture's shorter side, at least half of the
# pixels are echo. Strokes of text are not: about a third.
_WINDOW_SHARE = 1 / 24
_ECHO_DENSITY = 0.5
# A second view beside the first is tissue too; a grey-scale bar or a body mark is far smaller.
_SECOND_VIEW_SHARE = 0.2
# What is smaller than this share of the picture is no sector.
_MINIMUM_SECTOR_SHARE = 0.03


@dataclass(frozen=True)
class Sector:
    """Where the ultrasound lies in a picture.

    Attributes:
        x_px: Left edge of its bounding box.
        y_px: Upper edge.
        width_px: Width of the box.
        height_px: Height of the box.
        inside: bool [height_px, width_px], True within the convex outline of the sector.
    """

    x_px: int
    y_px: int
    width_px: int
    height_px: int
    inside: npt.NDArray[np.bool_]


def find_sector(grey: npt.NDArray[np.uint8]) -> Sector:
    """Find the ultrasound sector: the convex hull of the picture's dense echo.

    The share of echo in a window around each pixel is thresholded, so that speckle joins to tissue
    and strokes of text fall away; the largest region and any of at least a fifth of its size (a
    second view) make the sector.

    Args:
        grey: UINT8 [height, width], upright.

    Returns:
        The sector. A picture without a surround is all sector.

    Raises:
        ImageError: The picture is uniform, or holds too little echo to be an ultrasound frame.
    """
    darkest, brightest = int(grey.min()), int(grey.max())
    if darkest == brightest:
        raise ImageError(
            f"every pixel of the image is {darkest}: there is no ultrasound in it; check the "
            "export, then send the frame"
        )
    height, width = grey.shape
    window = 2 * round(min(height, width) * _WINDOW_SHARE / 2) + 1
    echo = (grey >= _ECHO_LEVEL).astype(np.float32)
    density = cv2.boxFilter(echo, -1, (window, window), borderType=cv2.BORDER_REPLICATE)
    dense = (density >= _ECHO_DENSITY).astype(np.uint8)
    # The bar and the body mark touch no tissue, but their windows may: an opening parts them.
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (window, window))
    dense = cv2.morphologyEx(dense, cv2.MORPH_OPEN, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(dense, connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if count == 1 or areas.max() < _MINIMUM_SECTOR_SHARE * grey.size:
        found = 0.0 if count == 1 else 100 * areas.max() / grey.size
        raise ImageError(
            f"only {found:.1f}% of the image is tissue echo (grey value of {_ECHO_LEVEL} or more, "
            f"dense), at least {100 * _MINIMUM_SECTOR_SHARE:.0f}% were wanted: check that it is an "
            "ultrasound frame and not nearly black"
        )
    views = 1 + np.flatnonzero(areas >= _SECOND_VIEW_SHARE * areas.max())
    return _hull(np.isin(labels, views).astype(np.uint8))


def _hull(tissue: npt.NDArray[np.uint8]) -> Sector:
    outlines, _ = cv2.findContours(tissue, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(np.concatenate(outlines))
    x, y, width, height = cv2.boundingRect(hull)
    inside = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(inside, hull - np.array([x, y], np.int32), 1)
    return Sector(x, y, width, height, inside.astype(np.bool_))


def cut_sector(grey: npt.NDArray[np.uint8], sector: Sector) -> npt.NDArray[np.uint8]:
    """Cut the sector's box out of a picture and blank what lies outside the sector.

    Args:
        grey: UINT8 [height, width], the picture in which the sector was found.
        sector: The sector.

    Returns:
        UINT8 [sector.height_px, sector.width_px]; 0 outside the sector.
    """
    rows = slice(sector.y_px, sector.y_px + sector.height_px)
    columns = slice(sector.x_px, sector.x_px + sector.width_px)
    return np.where(sector.inside, grey[rows, columns], np.uint8(0))
