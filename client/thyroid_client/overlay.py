"""Pictures that show what was found: the nodule's outline, and the evidence for the probability.

Lines are as wide as the picture's size asks for, each with a dark halo, so that they are seen on
white and on black.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from thyroid_client.screening import Box
from thyroid_pipeline import contract
from thyroid_pipeline.roi_square import roi_square

OUTLINE_RGB = (255, 221, 51)
CORNER_RGB = (77, 225, 255)
MALIGNANT_RGB = (255, 92, 38)
BENIGN_RGB = (51, 136, 255)
_HALO_RGB = (0, 0, 0)
_SQUARE_RGB = (235, 235, 235)

# One pixel of line for so many pixels of the picture's shorter side.
_SIDE_PER_LINE_PX = 260
# The strongest evidence covers this share of the picture under it.
_STRONGEST_COVER = 0.62
# Weaker maps than this are not stretched to full colour: they would look like evidence.
_LEAST_SCALE_LOGITS = 1.0


def outline_picture(
    grey: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_], box: Box | None
) -> Image.Image:
    """Draw the outline of every nodule and the corners of the largest one's box.

    Args:
        grey: UINT8 [height, width], the upright image.
        mask: bool [height, width].
        box: Around the largest nodule; None for no corners.

    Returns:
        An RGB picture of the image's size.

    Raises:
        ValueError: Image and mask differ in size.
    """
    _check_same_size(grey, mask)
    picture = Image.fromarray(grey).convert("RGB")
    line_px = _line_px(picture)
    _draw_outline(picture, mask, line_px)
    if box is not None:
        _draw_corners(picture, box, line_px)
    return picture


def evidence_picture(
    grey: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.bool_],
    box: Box,
    evidence: npt.NDArray[np.float32],
    margin_share: float = contract.CropperParameters.margin_share,
) -> Image.Image:
    """Colour the region of interest by the evidence: warm for malignant, blue for benign.

    The colour is the stronger the further the evidence is from 0, relative to the map's own
    extreme, or to 1 logit where the extreme is less.

    Args:
        grey: UINT8 [height, width], the upright image.
        mask: bool [height, width]; its outline is drawn thinly.
        box: Around the largest nodule.
        evidence: FP32 [EVIDENCE_SIDE, EVIDENCE_SIDE] in logits.
        margin_share: With which the server cut the region of interest.

    Returns:
        An RGB picture of the image's size.

    Raises:
        ValueError: Image and mask differ in size.
    """
    _check_same_size(grey, mask)
    picture = Image.fromarray(grey).convert("RGB")
    x, y, side = roi_square(box.as_tuple(), margin_share)
    left, top = max(0, math.ceil(x)), max(0, math.ceil(y))
    right = min(picture.width, math.floor(x + side))
    bottom = min(picture.height, math.floor(y + side))
    cells = evidence.shape[0] / side  # of the map, per pixel
    covered = ((left - x) * cells, (top - y) * cells, (right - x) * cells, (bottom - y) * cells)
    smooth = Image.fromarray(np.asarray(evidence, np.float32)).resize(
        (right - left, bottom - top), Image.Resampling.BICUBIC, box=covered
    )
    region = (left, top, right, bottom)
    picture.paste(_coloured(picture.crop(region), np.asarray(smooth), evidence), region)
    line_px = max(1, _line_px(picture) // 2)
    _draw_outline(picture, mask, line_px)
    square = Box(left, top, right - left, bottom - top)
    ImageDraw.Draw(picture).rectangle(_edges(square, line_px), outline=_SQUARE_RGB, width=line_px)
    return picture


def _check_same_size(grey: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_]) -> None:
    if grey.shape != mask.shape:
        raise ValueError(
            f"the image is {grey.shape[1]} x {grey.shape[0]} pixels and the mask {mask.shape[1]} x "
            f"{mask.shape[0]}: give the very image that was screened, upright"
        )


def _line_px(picture: Image.Image) -> int:
    return max(1, round(min(picture.size) / _SIDE_PER_LINE_PX))


def _coloured(
    region: Image.Image, smooth: npt.NDArray[np.float32], evidence: npt.NDArray[np.float32]
) -> Image.Image:
    scale = max(float(np.abs(evidence).max()), _LEAST_SCALE_LOGITS)
    cover = np.clip(np.abs(smooth) * (255 * _STRONGEST_COVER / scale), 0, 255 * _STRONGEST_COVER)
    colours = Image.new("RGB", region.size, BENIGN_RGB)
    colours.paste(MALIGNANT_RGB, mask=Image.fromarray(smooth > 0))
    return Image.composite(colours, region, Image.fromarray(cover.astype(np.uint8)))


def _draw_outline(picture: Image.Image, mask: npt.NDArray[np.bool_], line_px: int) -> None:
    if not mask.any():
        return
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    reach = 2 * line_px + 2  # the halo's outer edge, and one pixel of nothing
    left, top = int(columns[0]) - reach, int(rows[0]) - reach
    right, bottom = int(columns[-1]) + 1 + reach, int(rows[-1]) + 1 + reach
    # Cropping beyond the picture pads with 0: what leaves the picture is outlined at its border.
    nodule = Image.fromarray(mask.astype(np.uint8) * 255).crop((left, top, right, bottom))
    inner = np.asarray(nodule.filter(ImageFilter.MinFilter(3)))
    edge = Image.fromarray(np.where(np.asarray(nodule) > inner, 255, 0).astype(np.uint8))
    picture.paste(_HALO_RGB, (left, top), _widened(edge, 3 * line_px))
    picture.paste(OUTLINE_RGB, (left, top), _widened(edge, line_px))


def _draw_corners(picture: Image.Image, box: Box, line_px: int) -> None:
    """Mark the box by its corners alone: whole edges would hide the tissue next to the nodule."""
    left, top, right, bottom = _edges(box, 2 * line_px)
    arm_px = max(3 * line_px, round(0.14 * min(box.width_px, box.height_px)))
    draw = ImageDraw.Draw(picture)
    for colour, grow_px in ((_HALO_RGB, line_px), (CORNER_RGB, 0)):
        for x, inward_x in ((left, 1), (right, -1)):
            for y, inward_y in ((top, 1), (bottom, -1)):
                along_x = sorted((x, x + inward_x * arm_px))
                along_y = sorted((y, y + inward_y * arm_px))
                half = line_px // 2 + grow_px
                for x0, x1, y0, y1 in (
                    (*along_x, y, y),
                    (x, x, *along_y),
                ):
                    draw.rectangle((x0 - half, y0 - half, x1 + half, y1 + half), fill=colour)


def _edges(box: Box, outward_px: int) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the pixels just around a box."""
    return (
        box.x_px - outward_px,
        box.y_px - outward_px,
        box.x_px + box.width_px - 1 + outward_px,
        box.y_px + box.height_px - 1 + outward_px,
    )


def _widened(line: Image.Image, width_px: int) -> Image.Image:
    """Make a line of one pixel `width_px` wide, or one more to keep it centred."""
    if width_px == 1:
        return line  # Pillow 12.3.0 dies of a division by zero in a filter of this size
    return line.filter(ImageFilter.MaxFilter(width_px + 1 - width_px % 2))
