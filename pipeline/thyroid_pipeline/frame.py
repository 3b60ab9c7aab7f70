"""The first step of the screening: an encoded image to the frame that the networks see."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from thyroid_pipeline.decode import decode_image
from thyroid_pipeline.letterbox import Geometry, letterbox, plan_letterbox
from thyroid_pipeline.sector import cut_sector, find_sector


def make_frame(image: bytes) -> tuple[npt.NDArray[np.uint8], Geometry]:
    """Decode an image, blank what lies outside the ultrasound sector, and letterbox it.

    Args:
        image: The bytes of one encoded image.

    Returns:
        The frame, UINT8 [FRAME_SIDE_PX, FRAME_SIDE_PX], and where it lies in the image.

    Raises:
        ImageError: The image cannot be screened.
    """
    grey = decode_image(image)
    sector = find_sector(grey)
    height, width = grey.shape
    geometry = plan_letterbox(height, width, sector)
    return letterbox(cut_sector(grey, sector), geometry), geometry
