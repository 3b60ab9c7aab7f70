"""The pictures that a report embeds: small, and drawn at the size at which they are seen."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from thyroid_client.overlay import evidence_picture, outline_picture
from thyroid_client.screening import Box, Screening

# Three stand side by side on a wide screen. Small images are enlarged, so that lines stay fine.
_MAX_WIDTH_PX = 480
_MAX_HEIGHT_PX = 400
_MAX_ENLARGEMENT = 3.0
_JPEG_QUALITY = 80


@dataclass(frozen=True)
class Pictures:
    """JPEG files of one image, all of one size.

    Attributes:
        original: The image as it is.
        outline: With the nodules' outline and the box.
        evidence: With the evidence in colour; None where there is none.
        width_px: Their width.
        height_px: Their height.
    """

    original: bytes
    outline: bytes
    evidence: bytes | None
    width_px: int
    height_px: int


def report_pictures(grey: npt.NDArray[np.uint8], screening: Screening) -> Pictures:
    """Draw the pictures of one image.

    Args:
        grey: UINT8 [height, width], the upright image.
        screening: Of this image.

    Raises:
        ValueError: Image and mask differ in size.
    """
    if grey.shape != screening.mask.shape:
        raise ValueError(
            f"the image has the shape {grey.shape} and the mask {screening.mask.shape}: give the "
            "very image that was screened, upright"
        )
    height, width = grey.shape
    scale = min(_MAX_WIDTH_PX / width, _MAX_HEIGHT_PX / height, _MAX_ENLARGEMENT)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.LANCZOS))
    share = Image.fromarray(screening.mask.astype(np.uint8) * 255)
    mask = np.asarray(share.resize(size, Image.Resampling.BILINEAR)) > 127
    box = None if screening.box is None else _scaled(screening.box, scale)
    evidence = None
    if box is not None and screening.evidence is not None:
        evidence = _jpeg(evidence_picture(small, mask, box, screening.evidence))
    return Pictures(
        original=_jpeg(Image.fromarray(small)),
        outline=_jpeg(outline_picture(small, mask, box)),
        evidence=evidence,
        width_px=size[0],
        height_px=size[1],
    )


def _scaled(box: Box, scale: float) -> Box:
    left, top = math.floor(box.x_px * scale), math.floor(box.y_px * scale)
    right = math.ceil((box.x_px + box.width_px) * scale)
    bottom = math.ceil((box.y_px + box.height_px) * scale)
    return Box(left, top, right - left, bottom - top)


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # Full resolution of colour: thin lines would smear, and speckle has none that would cost.
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()
