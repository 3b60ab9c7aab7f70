"""Figures of a nodule's shape, in pixels of the upright image.

Ultrasound exports carry no reliable scale, so lengths are in pixels and areas in square pixels;
what a radiologist compares between images are the ratios.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Shape:
    """Figures of one outline.

    Attributes:
        area_px2: Number of the nodule's pixels.
        perimeter_px: Length of the outline by the estimator of Vossepoel and Smeulders (Computer
            Graphics and Image Processing 20, 1982): 0.980 for each straight step of the outline's
            chain code, 1.406 for each diagonal one, less 0.091 for each corner. The chain runs
            through the centres of the border pixels, half a pixel inside the edge, for which pi is
            added (Steiner's formula).
        width_px: Width of the upright box: the nodule's extent along the skin.
        height_px: Height of the box: its extent into the depth.
        equivalent_diameter_px: Diameter of the disc of the same area, sqrt(4 area / pi).
        major_axis_px: Longer axis of the ellipse with the same second moments, 4 sqrt(eigenvalue).
        minor_axis_px: Shorter axis of that ellipse.
        height_to_width: height / width. Above 1 the nodule is taller than wide: it grows across
            tissue planes, a sign of malignancy (ACR TI-RADS, Tessler et al., JACR 14, 2017).
        circularity: 4 pi area / perimeter^2: 1 for a disc, less the more ragged or long it is.
        convexity: Perimeter of the convex hull / perimeter: 1 for a smooth convex outline, less for
            a wavy or spiculated one.
        solidity: Area / area of the convex hull: 1 for a convex nodule, less for a lobulated one.
        extent: Area / area of the box: pi / 4 for an upright ellipse.
        eccentricity: sqrt(1 - (minor / major)^2): 0 for a disc, near 1 for a flat nodule.
        margin_irregularity: Root mean square of the outline's relative distance from the ellipse of
            the same second moments, along rays from the centroid: 0 for an ellipse; lobulated and
            irregular margins, signs of malignancy, raise it.
    """

    area_px2: float
    perimeter_px: float
    width_px: float
    height_px: float
    equivalent_diameter_px: float
    major_axis_px: float
    minor_axis_px: float
    height_to_width: float
    circularity: float
    convexity: float
    solidity: float
    extent: float
    eccentricity: float
    margin_irregularity: float


def measure_shape(nodule: npt.NDArray[np.bool_]) -> Shape:
    """Measure one nodule.

    Args:
        nodule: bool [height, width], one 8-connected region without holes.

    Returns:
        Its figures.

    Raises:
        ValueError: There is no nodule in the mask.
    """
    rows, columns = np.flatnonzero(nodule.any(axis=1)), np.flatnonzero(nodule.any(axis=0))
    if rows.size == 0:
        raise ValueError(
            f"a mask of shape {nodule.shape} without a pixel was given; one nodule was wanted: "
            "measure only where a nodule was found"
        )
    area = float(np.count_nonzero(nodule))
    left, top = int(columns[0]), int(rows[0])
    width, height = int(columns[-1]) - left + 1, int(rows[-1]) - top + 1
    window = nodule[top : top + height, left : left + width].astype(np.uint8)
    outlines, _ = cv2.findContours(window, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    chain = np.asarray(max(outlines, key=len)[:, 0, :], np.int32)  # [N, 2] as x, y
    perimeter = _perimeter(chain)
    hull = np.asarray(cv2.convexHull(chain)[:, 0, :], np.int32)
    hull_perimeter = float(cv2.arcLength(hull, closed=True)) + math.pi
    major, minor, moments, centre = _moments(window)
    return Shape(
        area_px2=area,
        perimeter_px=perimeter,
        width_px=float(width),
        height_px=float(height),
        equivalent_diameter_px=math.sqrt(4 * area / math.pi),
        major_axis_px=major,
        minor_axis_px=minor,
        height_to_width=height / width,
        circularity=4 * math.pi * area / perimeter**2,
        # The two lengths come from different estimators, so 1 is reached within rounding only.
        convexity=min(1.0, hull_perimeter / perimeter),
        solidity=area / _pixels_within(hull),
        extent=area / (width * height),
        eccentricity=math.sqrt(max(0.0, 1 - (minor / major) ** 2)),
        margin_irregularity=_distance_from_ellipse(chain, moments, centre),
    )


def _perimeter(chain: npt.NDArray[np.int32]) -> float:
    if len(chain) == 1:
        return math.pi  # one pixel: the chain has no step, Steiner's part remains
    steps = np.roll(chain, -1, axis=0) - chain
    diagonal = np.abs(steps).sum(axis=1) == 2
    corners = (steps != np.roll(steps, 1, axis=0)).any(axis=1)
    length = 0.980 * (~diagonal).sum() + 1.406 * diagonal.sum() - 0.091 * corners.sum()
    return float(length) + math.pi


def _pixels_within(hull: npt.NDArray[np.int32]) -> float:
    """Pixels whose centres lie in a polygon of pixel centres: Pick's theorem, A + B / 2 + 1."""
    border = np.gcd.reduce(np.abs(np.roll(hull, -1, axis=0) - hull), axis=1).sum()
    return float(cv2.contourArea(hull)) + float(border) / 2 + 1


def _moments(
    window: npt.NDArray[np.uint8],
) -> tuple[float, float, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Axes of the ellipse of the same second moments, the moments and the centroid (x, y).

    A twelfth is a square pixel's own second moment.
    """
    sums = cv2.moments(window, binaryImage=True)
    area = sums["m00"]
    centre = np.array([sums["m10"], sums["m01"]]) / area
    mixed = sums["mu11"]
    moments = np.array([[sums["mu20"], mixed], [mixed, sums["mu02"]]]) / area + np.eye(2) / 12
    # In closed form: LAPACK's threads would keep a core busy long after two numbers are found.
    mean = (moments[0, 0] + moments[1, 1]) / 2
    spread = math.hypot((moments[0, 0] - moments[1, 1]) / 2, moments[0, 1])
    return 4 * math.sqrt(mean + spread), 4 * math.sqrt(mean - spread), moments, centre


def _distance_from_ellipse(
    chain: npt.NDArray[np.int32],
    moments: npt.NDArray[np.float64],
    centre: npt.NDArray[np.float64],
) -> float:
    # In units of the ellipse's own radius along each ray, the ellipse is at Mahalanobis distance 2.
    rays = chain - centre
    lengths = np.sqrt((rays**2).sum(axis=1))
    # The chain lies half a pixel inside the edge.
    outer = rays * ((lengths + 0.5) / np.maximum(lengths, 0.5))[:, None]
    (xx, xy), (_, yy) = moments
    x, y = outer.T
    mahalanobis = np.sqrt((yy * x**2 - 2 * xy * x * y + xx * y**2) / (xx * yy - xy**2))
    return float(np.sqrt(((mahalanobis / 2 - 1) ** 2).mean()))
