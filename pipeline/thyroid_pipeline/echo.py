"""Figures of a nodule's echo, on the frame's grey values.

Grey values are log-compressed echo amplitudes as the scanner displayed them, so these are ratios of
displayed brightness, comparable between images of similar gain only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

# Tissue around a nodule is compared within this share of its equivalent diameter.
_RING_SHARE = 0.25
# The margin's contrast is taken over this share of the equivalent diameter on each side.
_MARGIN_SHARE = 0.06
# The tissue behind a nodule is compared over this share of its height.
_POSTERIOR_SHARE = 0.5


@dataclass(frozen=True)
class Echo:
    """Brightness in and around a nodule; each is NaN where there is no tissue to compare with.

    Attributes:
        echo_ratio: Mean grey inside / mean grey in the ring around it: below 1 hypoechoic (a sign
            of malignancy when marked), about 1 isoechoic, above 1 hyperechoic.
        echo_variation: Standard deviation / mean of the grey inside: high in mixed cystic and
            solid nodules and with calcifications.
        posterior_ratio: Mean grey behind the nodule / mean grey beside that at the same depth:
            above 1 enhancement (fluid), below 1 shadow (calcification, fibrosis).
        margin_contrast: Difference of mean grey just outside and just inside the outline, over
            their sum, without sign: near 0 for an ill-defined margin.
    """

    echo_ratio: float
    echo_variation: float
    posterior_ratio: float
    margin_contrast: float


def measure_echo(frame: npt.NDArray[np.uint8], nodule: npt.NDArray[np.bool_]) -> Echo:
    """Measure the echo of one nodule.

    Args:
        frame: UINT8 [S, S]; 0 outside the sector.
        nodule: bool [S, S], the nodule on the frame's grid.

    Returns:
        Its figures.
    """
    area = np.count_nonzero(nodule)
    if area == 0:
        return Echo(math.nan, math.nan, math.nan, math.nan)  # thinner than a pixel of the frame
    diameter = math.sqrt(4 * area / math.pi)
    tissue = _tissue(frame)
    # All that counts lies close to the nodule, and most of a frame does not.
    around = _surroundings(nodule, max(2.0, _RING_SHARE * diameter))
    frame, nodule, tissue = frame[around], nodule[around], tissue[around]
    outside = cv2.distanceTransform((~nodule).astype(np.uint8), cv2.DIST_L2, 3)
    inside = cv2.distanceTransform(nodule.astype(np.uint8), cv2.DIST_L2, 3)
    ring = tissue & (outside > 0) & (outside <= max(2.0, _RING_SHARE * diameter))
    band = max(2.0, _MARGIN_SHARE * diameter)
    outer = _mean(frame, tissue & (outside > 0) & (outside <= band))
    inner = _mean(frame, tissue & (inside > 0) & (inside <= band))
    mean = _mean(frame, nodule)
    return Echo(
        echo_ratio=_ratio(mean, _mean(frame, ring)),
        echo_variation=_ratio(float(frame[nodule].std()), mean),
        posterior_ratio=_posterior_ratio(frame, nodule, tissue),
        margin_contrast=_ratio(abs(outer - inner), outer + inner),
    )


def _surroundings(nodule: npt.NDArray[np.bool_], ring_px: float) -> tuple[slice, slice]:
    """Rows and columns that hold the ring and what lies behind the nodule and beside that."""
    rows, columns = np.flatnonzero(nodule.any(axis=1)), np.flatnonzero(nodule.any(axis=0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    ring = math.ceil(ring_px) + 1
    below = max(ring, math.ceil(_POSTERIOR_SHARE * height))
    beside = max(ring, width // 2)
    return (
        slice(max(0, rows[0] - ring), rows[-1] + 1 + below),
        slice(max(0, columns[0] - beside), columns[-1] + 1 + beside),
    )


def _tissue(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Where the sector lies: the convex outline of what is not black.

    Black within it counts, since a shadow and a cyst may be as black as the surround.
    """
    lit = frame > 0
    rows = np.flatnonzero(lit.any(axis=1))
    left = lit[rows].argmax(axis=1)
    right = frame.shape[1] - 1 - lit[rows, ::-1].argmax(axis=1)
    ends = np.concatenate((np.stack((left, rows), 1), np.stack((right, rows), 1))).astype(np.int32)
    tissue = np.zeros(frame.shape, np.uint8)
    if rows.size:
        cv2.fillConvexPoly(tissue, cv2.convexHull(ends), (1,))
    return tissue.astype(np.bool_)


def _posterior_ratio(
    frame: npt.NDArray[np.uint8], nodule: npt.NDArray[np.bool_], tissue: npt.NDArray[np.bool_]
) -> float:
    rows, columns = np.flatnonzero(nodule.any(axis=1)), np.flatnonzero(nodule.any(axis=0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    depth = slice(rows[-1] + 1, rows[-1] + 1 + math.ceil(_POSTERIOR_SHARE * height))
    behind, beside = np.zeros_like(tissue), np.zeros_like(tissue)
    # The central half: at the nodule's flanks refraction darkens what lies behind.
    quarter = width // 4
    behind[depth, columns[0] + quarter : columns[-1] + 1 - quarter] = True
    beside[depth, max(0, columns[0] - width // 2) : columns[0]] = True
    beside[depth, columns[-1] + 1 : columns[-1] + 1 + width // 2] = True
    return _ratio(_mean(frame, behind & tissue), _mean(frame, beside & tissue))


def _mean(frame: npt.NDArray[np.uint8], where: npt.NDArray[np.bool_]) -> float:
    values = frame[where]
    return float(values.mean()) if values.size else math.nan


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else math.nan
