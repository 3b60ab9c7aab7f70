"""Nodules drawn by formula, as masks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]

ANGLES = np.linspace(0, 2 * np.pi, 1440, endpoint=False)


def polar(radius: NDArray[np.float64] | float, angle_deg: float = 0.0, aspect: float = 1.0) -> Mask:
    """Pixels whose centres r(ANGLES) encloses, stretched along x by `aspect` and turned."""
    radii = np.broadcast_to(radius, ANGLES.shape)
    reach = math.ceil(radii.max() * max(aspect, 1)) + 2
    # Off the grid, as nodules are.
    rows, columns = np.indices((2 * reach + 1, 2 * reach + 1))
    y, x = rows - reach - 0.3, columns - reach - 0.4
    turn = math.radians(angle_deg)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    along /= aspect
    allowed = np.interp(np.arctan2(across, along), ANGLES, radii, period=2 * np.pi)
    inside: Mask = np.hypot(along, across) <= allowed
    return inside


def blob(seed: int, size: int = 90) -> Mask:
    """The largest region of smooth noise, without holes."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 7)
    labels, _ = ndimage.label(noise > np.quantile(noise, 0.7), structure=np.ones((3, 3)))
    largest = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return np.asarray(ndimage.binary_fill_holes(largest))
