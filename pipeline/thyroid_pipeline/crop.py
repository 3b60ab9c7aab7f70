"""The third step of the screening: what was found, its figures, and the region to classify."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from thyroid_pipeline import contract
from thyroid_pipeline.echo import measure_echo
from thyroid_pipeline.letterbox import Geometry, letterbox
from thyroid_pipeline.mask_png import encode_mask
from thyroid_pipeline.morphology import measure_shape
from thyroid_pipeline.nodules import find_nodules
from thyroid_pipeline.roi import cut_roi


@dataclass(frozen=True)
class Crop:
    """The cropper's outputs for one image, named, typed and shaped as in the contract."""

    roi: npt.NDArray[np.uint8]
    nodule_found: bool
    box: npt.NDArray[np.int32]
    mask: bytes
    morphology: npt.NDArray[np.float32]


def crop_nodule(
    frame: npt.NDArray[np.uint8],
    probability: npt.NDArray[np.uint8],
    geometry: Geometry,
    parameters: contract.CropperParameters,
) -> Crop:
    """Find the nodules, measure the largest and cut the region around it.

    Args:
        frame: UINT8 [FRAME_SIDE_PX, FRAME_SIDE_PX].
        probability: UINT8 [MAP_SIDE_PX, MAP_SIDE_PX], probability times 255.
        geometry: Of the frame.
        parameters: Threshold, minimum area and margin.

    Returns:
        The crop. Where no nodule is found: a blank region, an empty box and mask, NaN figures.
    """
    nodules = find_nodules(probability, geometry, parameters)
    if nodules is None:
        side = contract.ROI_SIDE_PX
        empty = np.zeros((geometry.image_height_px, geometry.image_width_px), np.bool_)
        return Crop(
            roi=np.zeros((side, side), np.uint8),
            nodule_found=False,
            box=np.zeros(4, np.int32),
            mask=encode_mask(empty),
            morphology=np.full(len(contract.MORPHOLOGY_FIELDS), np.nan, np.float32),
        )
    return Crop(
        roi=cut_roi(frame, nodules.box, geometry, parameters.margin_share),
        nodule_found=True,
        box=np.array(nodules.box, np.int32),
        mask=encode_mask(nodules.mask),
        morphology=_measure(frame, nodules.largest, nodules.box, geometry),
    )


def _measure(
    frame: npt.NDArray[np.uint8],
    nodule: npt.NDArray[np.bool_],
    box: tuple[int, int, int, int],
    geometry: Geometry,
) -> npt.NDArray[np.float32]:
    x, y, width, height = box
    shape = measure_shape(nodule[y : y + height, x : x + width])
    echo = measure_echo(frame, nodule_on_frame(nodule, geometry))
    figures = {**asdict(shape), **asdict(echo)}
    return np.array([figures[name] for name in contract.MORPHOLOGY_FIELDS], np.float32)


def nodule_on_frame(nodule: npt.NDArray[np.bool_], geometry: Geometry) -> npt.NDArray[np.bool_]:
    """Bring a mask of the image onto the frame's grid.

    Args:
        nodule: bool [image_height_px, image_width_px].
        geometry: Of the frame.

    Returns:
        bool [FRAME_SIDE_PX, FRAME_SIDE_PX]; True where at least half of a frame's pixel is.
    """
    rows = slice(geometry.sector_y_px, geometry.sector_y_px + geometry.sector_height_px)
    columns = slice(geometry.sector_x_px, geometry.sector_x_px + geometry.sector_width_px)
    return letterbox(nodule[rows, columns] * np.uint8(255), geometry) >= 128
