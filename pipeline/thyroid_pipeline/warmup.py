"""The picture that warms a model up and asks a server whether it is ready."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

PROBE_REQUEST_ID = "thyroid-readiness"
"""The request id of a readiness check: Triton hands it to every step, and no metric counts it."""

_HEIGHT_PX, _WIDTH_PX = 96, 128


def warmup_image() -> bytes:
    """A small frame with a dark disc, the same bytes on every machine.

    BMP, since PNG's bytes depend on the version of zlib that wrote them. The texture is
    whole-number arithmetic for the same reason.

    Returns:
        A BMP file of 128 x 96 pixels, about 13 KiB.
    """
    rows, columns = np.mgrid[:_HEIGHT_PX, :_WIDTH_PX]
    grey = 90 + (rows * 37 + columns * 59 + rows * columns * 11) % 64
    grey[(rows - 48) ** 2 + (columns - 64) ** 2 < 24**2] -= 70
    buffer = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).save(buffer, "BMP")
    return buffer.getvalue()
