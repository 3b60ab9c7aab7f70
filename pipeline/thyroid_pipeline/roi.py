"""The region of interest: a square around the nodule, cut without distortion."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from thyroid_pipeline import contract
from thyroid_pipeline.letterbox import Geometry
from thyroid_pipeline.roi_square import roi_square


def cut_roi(
    frame: npt.NDArray[np.uint8],
    box: tuple[int, int, int, int],
    geometry: Geometry,
    margin_share: float,
    side_px: int = contract.ROI_SIDE_PX,
) -> npt.NDArray[np.uint8]:
    """Cut the square around a nodule out of the frame and scale it to the classifier's input.

    Args:
        frame: UINT8 [FRAME_SIDE_PX, FRAME_SIDE_PX].
        box: x, y, width, height of the nodule in pixels of the upright image.
        geometry: Of the frame.
        margin_share: Margin on each side, as a share of the box's longer side.
        side_px: Of the region; another than the served one to study what it is worth.

    Returns:
        UINT8 [side_px, side_px]. What lies beyond the frame is 0, as what lies beyond the
        sector is: the square is never squeezed to fit.
    """
    x, y, side = roi_square(box, margin_share)
    frame_x, frame_y = geometry.to_frame(x, y)
    # From ROI pixel centres to frame pixel centres; the two scales differ by rounding only.
    step_x, step_y = side * geometry.scale_x / side_px, side * geometry.scale_y / side_px
    matrix = np.array(
        [
            [step_x, 0.0, frame_x + 0.5 * step_x - 0.5],
            [0.0, step_y, frame_y + 0.5 * step_y - 0.5],
        ]
    )
    roi = cv2.warpAffine(
        frame,
        matrix,
        (side_px, side_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0,),
    )
    return np.asarray(roi, np.uint8)
