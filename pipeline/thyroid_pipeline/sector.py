"""Finding the ultrasound sector in an exported picture, so that nothing else reaches a network.

Exports carry text, scales and marks around the sector, and on some the text names the diagnosis. A
network that saw it would read the answer instead of the tissue.
"""

from __future__ import annotations

import math
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
# Printing is bright, up to a fringe of half-lit pixels, and stands alone: what parts it from the
# tissue is darker than this, since JPEG smears bright strokes.
_PRINT_LEVEL = 128
_PRINT_FRINGE_PX = 2
_GAP_LEVEL = 24
# A line of text adds little to a sector. Where more than this share would go with it, the islands
# are the bright fragments of a dark frame's tissue.
_PRINTED_SHARE = 0.15


@dataclass(frozen=True)
class Sector:
    """Where the ultrasound lies in a picture.

    Attributes:
        x_px: Left edge of its bounding box.
        y_px: Upper edge.
        width_px: Width of the box.
        height_px: Height of the box.
        inside: bool [height_px, width_px], True within the convex outline of each view.
    """

    x_px: int
    y_px: int
    width_px: int
    height_px: int
    inside: npt.NDArray[np.bool_]


def find_sector(grey: npt.NDArray[np.uint8]) -> Sector:
    """Find the ultrasound sector: the convex hull of each region of dense echo.

    The share of echo in a window around each pixel is thresholded, so that speckle joins to tissue
    and strokes of text fall away; the largest region and any of at least a fifth of its size (a
    second view) make the sector. Text within half a window of the tissue would join it, so bright
    islands are left out, unless too much would go with them.

    Args:
        grey: UINT8 [height, width], upright.

    Returns:
        The sector. A picture without a surround is all sector.

    Raises:
        ImageError: The picture is uniform, or holds too little echo to be an ultrasound frame.
    """
    darkest, brightest, _, _ = cv2.minMaxLoc(grey)
    if darkest == brightest:
        raise ImageError(
            f"every pixel of the image is {darkest:.0f}: there is no ultrasound in it; check the "
            "export, then send the frame"
        )
    echo = _at_least(_ECHO_LEVEL, grey)
    window_px = 2 * round(min(grey.shape) * _WINDOW_SHARE / 2) + 1
    views = _find_views(echo, window_px)
    found = 100 * cv2.countNonZero(views) / grey.size
    if found < 100 * _MINIMUM_SECTOR_SHARE:
        raise ImageError(
            f"only {found:.1f}% of the image is tissue echo (grey value of {_ECHO_LEVEL} or more, "
            f"dense), at least {100 * _MINIMUM_SECTOR_SHARE:.0f}% were wanted: check that it is an "
            "ultrasound frame and not nearly black"
        )
    rows, columns = _reach(views, window_px)
    printing = _find_printing(grey[rows, columns])
    if printing is None:
        return _hull(views, 0, 0)
    unprinted = cv2.bitwise_and(echo[rows, columns], cv2.bitwise_not(printing))
    clean = views[rows, columns] & _find_views(np.asarray(unprinted, np.uint8), window_px)
    sector = _hull(views, 0, 0)
    if not clean.any():
        return sector
    without = _hull(clean, columns.start, rows.start)
    left = np.count_nonzero(without.inside) / np.count_nonzero(sector.inside)
    return without if left >= 1 - _PRINTED_SHARE else sector


def _find_views(echo: npt.NDArray[np.uint8], window_px: int) -> npt.NDArray[np.uint8]:
    """Mark the large regions of dense echo, given as 0 and 255: UINT8 [height, width], 0 or 1."""
    window = (window_px, window_px)
    share = cv2.boxFilter(echo, -1, window, borderType=cv2.BORDER_REPLICATE)
    level = math.ceil(255 * _ECHO_DENSITY) - 1
    dense = cv2.threshold(share, level, 1, cv2.THRESH_BINARY)[1]
    # The bar and the body mark touch no tissue, but their windows may: an opening parts them.
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, window)
    opened = np.asarray(cv2.morphologyEx(dense, cv2.MORPH_OPEN, kernel), np.uint8)
    outlines, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if len(outlines) > 1:
        areas = [cv2.contourArea(outline) for outline in outlines]
        least = _SECOND_VIEW_SHARE * max(areas)
        small = [outline for outline, area in zip(outlines, areas, strict=True) if area < least]
        cv2.drawContours(opened, small, -1, (0,), cv2.FILLED)
    return opened


def _reach(views: npt.NDArray[np.uint8], window_px: int) -> tuple[slice, slice]:
    """Where printing can change what was found: rows and columns of the picture.

    A pixel is in the opening, or not, by what lies within a window around it that slid over
    windows: three halves of a window, rounded up.
    """
    x, y, width, height = cv2.boundingRect(views)
    reach_px = 3 * (window_px // 2)
    return (
        slice(max(0, y - reach_px), y + height + reach_px),
        slice(max(0, x - reach_px), x + width + reach_px),
    )


def _find_printing(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """Mark bright islands, as letters and marks are, with their fringe: UINT8, 0 or 255.

    Returns:
        The marks; None where there is none.
    """
    lit = _at_least(_GAP_LEVEL, grey)
    # Nearly all that is lit is one region, the tissue. Without it little is left to be labelled.
    rest, tissue_px2 = _without_middle(lit)
    places = _bright_islands(grey, rest, tissue_px2)
    if places is None:  # it was no tissue
        places = _bright_islands(grey, lit)
    if places is None or places.size == 0:
        return None
    printing = np.zeros_like(lit)
    printing.reshape(-1)[places] = 255
    side = 2 * _PRINT_FRINGE_PX + 1
    fringe = np.asarray(cv2.dilate(printing, np.ones((side, side), np.uint8)), np.uint8)
    # The fringe may reach into the tissue beside it, which is lit and no island.
    return np.asarray(printing | (fringe & ~lit), np.uint8)


def _without_middle(lit: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], int]:
    """Take the region in the middle out of what is lit: the others, and that region's size."""
    row = lit.shape[0] // 2
    columns = np.flatnonzero(lit[row])
    if columns.size == 0:
        return lit, 0
    rest = lit.copy()
    seed = (int(columns[columns.size // 2]), row)
    area_px2, *_ = cv2.floodFill(rest, None, seed, (0,), flags=8)
    return rest, area_px2


def _bright_islands(
    grey: npt.NDArray[np.uint8], lit: npt.NDArray[np.uint8], other_px2: int = 0
) -> npt.NDArray[np.intp] | None:
    """Find the lit regions that are small beside the largest, and bright somewhere.

    Args:
        grey: UINT8 [height, width].
        lit: UINT8 of the same shape, 0 or 255.
        other_px2: Size of one more region, which is not in `lit`; 0 for none.

    Returns:
        The indices of their pixels, row by row; None where the other region is a small one itself.
    """
    labels = np.asarray(cv2.connectedComponents(lit, connectivity=8)[1], np.int32)
    places = np.flatnonzero(lit > 0)
    numbers = labels.reshape(-1)[places]
    areas = np.bincount(numbers, minlength=1)
    least_px2 = _SECOND_VIEW_SHARE * max(other_px2, int(areas.max()))
    if 0 < other_px2 < least_px2:
        return None
    islands = np.zeros(areas.size, np.bool_)
    islands[numbers[grey.reshape(-1)[places] >= _PRINT_LEVEL]] = True
    islands &= areas < least_px2
    return np.asarray(places[islands[numbers]], np.intp)


def _at_least(level: int, grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Mark what is at least so bright: UINT8, 0 or 255."""
    return np.asarray(cv2.threshold(grey, level - 1, 255, cv2.THRESH_BINARY)[1], np.uint8)


def _hull(tissue: npt.NDArray[np.uint8], left_px: int, top_px: int) -> Sector:
    """Outline the tissue, given in a cut of the picture that begins at `left_px`, `top_px`."""
    outlines, _ = cv2.findContours(tissue, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    x, y, width, height = cv2.boundingRect(np.concatenate(outlines))
    inside = np.zeros((height, width), np.uint8)
    # One hull for each view: between views of unlike height there is room for text.
    for outline in outlines:
        hull = np.asarray(cv2.convexHull(outline), np.int32)
        cv2.fillConvexPoly(inside, hull - np.array([x, y], np.int32), (1,))
    return Sector(left_px + x, top_px + y, width, height, inside.view(np.bool_))


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
    return grey[rows, columns] * sector.inside.view(np.uint8)
