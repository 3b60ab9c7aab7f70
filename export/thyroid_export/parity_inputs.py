"""Inputs on which two runtimes are compared: phantoms, through the pipeline that serves."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from thyroid_pipeline import contract
from thyroid_pipeline.frame import make_frame
from thyroid_training.phantoms import make_phantom

_SIDE = contract.ROI_SIDE_PX


def parity_inputs(model: contract.Model, count: int, seed: int) -> list[npt.NDArray[np.generic]]:
    """Make inputs for a network.

    Args:
        model: `contract.TRANSUNET` or `contract.RESNET18`.
        count: Batch size, at least 2.
        seed: Of the first phantom.

    Returns:
        One array for each of the model's inputs: phantom frames, or their middles as regions of
        interest, of which the last is `no nodule`.
    """
    frames = np.empty((count, *contract.FRAME.shape), np.uint8)
    for row in range(count):
        buffer = io.BytesIO()
        Image.fromarray(make_phantom(seed + row).image).save(buffer, "PNG")
        frames[row, 0], _ = make_frame(buffer.getvalue())
    if model == contract.TRANSUNET:
        return [frames]
    start = (contract.FRAME_SIDE_PX - _SIDE) // 2
    rois = np.ascontiguousarray(frames[:, :, start : start + _SIDE, start : start + _SIDE])
    found = np.ones((count, *contract.NODULE_FOUND.shape), np.bool_)
    rois[-1], found[-1] = 0, False
    return [rois, found]
