"""Masks as 1-bit PNG: a picture of yes and no in about a kilobyte."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from thyroid_pipeline.errors import ImageError


def encode_mask(mask: npt.NDArray[np.bool_]) -> bytes:
    """Encode a mask.

    Args:
        mask: bool [height, width].

    Returns:
        A 1-bit grey PNG of the same size, white where True.
    """
    buffer = io.BytesIO()
    # Level 1: a mask is runs of equal bits, which any level packs well; speed is what differs.
    Image.fromarray(mask).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def decode_mask(png: bytes) -> npt.NDArray[np.bool_]:
    """Decode a mask that `encode_mask` wrote.

    Args:
        png: The file's bytes.

    Returns:
        bool [height, width].

    Raises:
        ImageError: The bytes are no 1-bit PNG.
    """
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            image.load()
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        raise ImageError(
            f"a mask of {len(png)} bytes cannot be read as PNG; a 1-bit PNG was wanted: pass the "
            "mask output on unchanged"
        ) from error
    if image.mode != "1":
        raise ImageError(
            f"a mask has pixels of type {image.mode}; a 1-bit PNG was wanted: pass the mask output "
            "on unchanged"
        )
    return np.asarray(image)
