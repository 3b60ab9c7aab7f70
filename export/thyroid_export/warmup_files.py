"""The inputs that warm the Python steps up, where zeros would not take the usual way through."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from thyroid_pipeline import contract
from thyroid_pipeline.frame import make_frame
from thyroid_pipeline.warmup import warmup_image

# Triton looks for them in this folder of a model.
WARMUP_FOLDER = "warmup"


def _image() -> bytes:
    image = warmup_image()
    return struct.pack("<I", len(image)) + image  # BYTES begin with their length, little-endian


def _geometry() -> bytes:
    _, geometry = make_frame(warmup_image())
    return geometry.to_array().tobytes()


def _nodule_probability() -> bytes:
    """A certain disc in the middle: the cropper then finds, measures and cuts a nodule."""
    side = contract.MAP_SIDE_PX
    rows, columns = np.ogrid[:side, :side]
    disc = (rows - side / 2) ** 2 + (columns - side / 2) ** 2 < (side / 6) ** 2
    return np.where(disc, np.uint8(contract.PROBABILITY_SCALE), np.uint8(0)).tobytes()


# By model and input: what the file holds.
WARMUP_FILES: dict[tuple[str, str], Callable[[], bytes]] = {
    (contract.FRAME_DECODER.name, contract.IMAGE.name): _image,
    (contract.ROI_CROPPER.name, contract.GEOMETRY.name): _geometry,
    (contract.ROI_CROPPER.name, contract.NODULE_PROBABILITY.name): _nodule_probability,
}
