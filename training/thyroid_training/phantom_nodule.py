"""The nodule: its outline, exact by construction, and what it does to the echoes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from thyroid_training.phantom_paint import Maps, blend, sigmoid
from thyroid_training.phantom_speckle import FLOAT32, smooth_noise
from thyroid_training.phantom_tissue import Site
from thyroid_training.phantom_traits import Echogenicity, Margin, PhantomTraits

# Decibels re thyroid: mean and half range.
ECHO_DB: dict[Echogenicity, tuple[float, float]] = {
    "anechoic": (-23.0, 2.0),
    "hypoechoic": (-5.5, 2.0),
    "isoechoic": (0.0, 0.6),
    "hyperechoic": (4.5, 1.2),
}
FLUID_DB = -21.0
# Half the width of the transition at the outline, in pixels of the working grid.
EDGE_PX: dict[Margin, float] = {
    "smooth": 0.8,
    "lobulated": 0.8,
    "spiculated": 0.9,
    "ill_defined": 4.5,
}
_ANGLES = np.linspace(0.0, 2.0 * np.pi, 360, endpoint=False)


def _waves(rng: np.random.Generator, orders: range, size: float) -> NDArray[np.float64]:
    """A sum of angular harmonics of random size and phase: FLOAT64 [360]."""
    total = np.zeros_like(_ANGLES)
    for order in orders:
        total += rng.normal(0, size) * np.cos(order * _ANGLES + rng.uniform(0, 2 * np.pi))
    return total


def outline(
    rng: np.random.Generator, margin: Margin, half_width_px: float, half_height_px: float
) -> NDArray[np.float64]:
    """Draws an outline about the origin with exact extents.

    Args:
        rng: Source of randomness.
        margin: Its character.
        half_width_px: Half of the extent along the columns.
        half_height_px: Half of the extent along the rows.

    Returns:
        FLOAT64 [360, 2], column and row of each corner; the extents are exactly
        -half_width_px..half_width_px and -half_height_px..half_height_px.
    """
    radius = 1.0 + _waves(rng, range(2, 4), 0.035)
    if margin == "lobulated":
        lobes = int(rng.integers(4, 8))
        # Lobules of unequal width, or the outline would be a flower.
        course = 0.5 * lobes * _ANGLES + rng.uniform(0, 2 * np.pi)
        course += rng.uniform(0.3, 0.9) * np.sin(_ANGLES + rng.uniform(0, 2 * np.pi))
        # The magnitude of a half-order sine has rounded tops and sharp clefts.
        radius += rng.uniform(0.12, 0.22) * np.abs(np.sin(course))
        radius += _waves(rng, range(2, 5), 0.03)
    elif margin == "spiculated":
        radius += _waves(rng, range(3, 9), 0.025)
        for centre in rng.uniform(0, 2 * np.pi, int(rng.integers(9, 16))):
            away = np.abs((_ANGLES - centre + np.pi) % (2 * np.pi) - np.pi)
            reach = rng.uniform(0.10, 0.17)
            radius += rng.uniform(0.10, 0.34) * np.clip(1 - away / reach, 0, None) ** 1.3
    elif margin == "ill_defined":
        radius += _waves(rng, range(3, 8), 0.035)
    tilt = rng.uniform(-0.4, 0.4)
    x, y = radius * half_width_px * np.cos(_ANGLES), radius * half_height_px * np.sin(_ANGLES)
    points = np.stack(
        [x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)], axis=1
    )
    low, high = points.min(axis=0), points.max(axis=0)
    points = (points - (low + high) / 2) / ((high - low) / 2)
    return np.asarray(points * np.array([half_width_px, half_height_px]))


def signed_distance(points: NDArray[np.float64], height: int, width: int) -> FLOAT32:
    """Distance to an outline in pixels, positive inside.

    Args:
        points: FLOAT64 [n, 2], columns and rows of the corners.
        height: Rows of the grid.
        width: Columns of the grid.

    Returns:
        FLOAT32 [height, width].
    """
    inside = np.zeros((height, width), np.uint8)
    fixed_point_bits = 4
    corners = np.round(points * 2**fixed_point_bits).astype(np.int32)
    cv2.fillPoly(inside, [corners], (1,), shift=fixed_point_bits)
    outside = 1 - inside
    within = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    beyond = cv2.distanceTransform(outside, cv2.DIST_L2, 5)
    return np.asarray(
        np.where(inside, within - np.float32(0.5), np.float32(0.5) - beyond), np.float32
    )


def without_crumbs(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drops the tips of spikes that resampling has cut off: they are pixels, not nodules.

    Args:
        mask: bool [height, width].

    Returns:
        bool [height, width] without the regions smaller than a twentieth of the largest.
    """
    count, labels, figures, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count <= 2:
        return mask
    areas = figures[1:, cv2.CC_STAT_AREA]
    return np.isin(labels, 1 + np.flatnonzero(areas >= areas.max() / 20))


def _add_micro(rng: np.random.Generator, maps: Maps, solid: NDArray[np.bool_]) -> None:
    rows, columns = np.nonzero(solid)
    if rows.size == 0:
        return
    picks = rng.integers(0, rows.size, int(rng.integers(5, 22)))
    points = np.zeros_like(maps.coherent)
    points[rows[picks], columns[picks]] = rng.uniform(4.0, 14.0, picks.size)
    # Much smaller than a wavelength: what shows is the point spread.
    cv2.GaussianBlur(points, (0, 0), sigmaX=1.5, sigmaY=0.9, dst=points)
    maps.coherent += points * np.float32(2 * np.pi * 1.5 * 0.9 * 0.55)


def _add_macro(rng: np.random.Generator, maps: Maps, distance: FLOAT32, site: Site) -> None:
    for _ in range(int(rng.integers(1, 3))):
        column = site.column_px + rng.uniform(-0.45, 0.45) * site.half_width_px
        row = site.row_px + rng.uniform(-0.5, 0.3) * site.half_height_px
        half_width = np.clip(rng.uniform(0.15, 0.35) * site.half_width_px, 3.0, 22.0)
        bend = rng.uniform(0.0, 0.25) * half_width
        across = (maps.columns - column) / half_width
        crest = row + bend * across**2
        thickness = rng.uniform(1.2, 2.4)
        within = sigmoid((1.0 - np.abs(across)) * half_width / 2.0) * sigmoid(distance - 1.5)
        shell = np.exp(-0.5 * np.square((maps.rows - crest) / thickness)) * within
        blend(maps.echo_db, 16.0, np.asarray(shell, np.float32))
        maps.coherent += (3.0 * shell).astype(np.float32)
        maps.loss_db_per_px += (rng.uniform(2.0, 4.0) * shell / thickness).astype(np.float32)


def add_nodule(
    rng: np.random.Generator, maps: Maps, distance: FLOAT32, site: Site, traits: PhantomTraits
) -> None:
    """Draws a nodule into the maps.

    Args:
        rng: Source of randomness.
        maps: Where to draw.
        distance: FLOAT32 [height, width], signed distance to the outline, positive inside.
        site: Where the nodule lies.
        traits: What it looks like.
    """
    height, width = maps.shape
    mean, half_range = ECHO_DB[traits.echogenicity]
    fluid = traits.echogenicity == "anechoic"
    inside = sigmoid(distance / (0.5 * EDGE_PX[traits.margin]))
    texture = smooth_noise(rng, height, width, 6, 8)
    clumps = smooth_noise(rng, height, width, 16, 20)
    unevenness = rng.uniform(0.5, 1.9)
    level = mean + rng.uniform(-half_range, half_range)
    blend(maps.echo_db, level + unevenness * (texture + clumps), inside)
    maps.coherent *= 1 - inside

    wet = inside if fluid else np.zeros_like(inside)
    if traits.cystic_share > 0.0:
        core = distance > 0.12 * min(site.half_width_px, site.half_height_px)
        cell = max(rng.uniform(0.5, 1.3) * min(site.half_width_px, site.half_height_px), 6.0)
        pools = smooth_noise(rng, height, width, cell, cell)
        if core.any():
            edge = np.quantile(pools[core], 1.0 - traits.cystic_share)
            wet = sigmoid((pools - edge) * cell / 2.0) * sigmoid(distance - 2.0)
            blend(maps.echo_db, FLUID_DB + 2.0 * clumps + texture, wet)
    # Fluid takes less from the beam than the time gain gives back: brighter behind.
    path = max(2.0 * site.half_height_px, 1.0)
    maps.loss_db_per_px -= wet * np.float32(rng.uniform(5.0, 9.0) / path)
    if not fluid:
        maps.loss_db_per_px += inside * np.float32(rng.uniform(-2.0, 4.0) / path)
    # Refraction along the rim: a ray tangent to it runs far inside this band and is lost.
    if traits.margin in ("smooth", "lobulated"):
        rim = np.exp(-0.5 * np.square(distance / 1.5))
        maps.loss_db_per_px += rim * np.float32(rng.uniform(0.02, 0.14))
    # Even a nodule as bright as the thyroid has a faint interface, or nobody could outline it.
    if not fluid and traits.margin != "ill_defined":
        rim = np.exp(-0.5 * np.square((distance - 0.5) / 1.2))
        maps.echo_db -= np.asarray(rng.uniform(1.0, 4.0) * rim, np.float32)
    if traits.halo:
        ring = np.exp(-0.5 * np.square((distance + 2.0) / 1.6))
        maps.echo_db -= np.asarray(rng.uniform(5.0, 9.0) * ring, np.float32)
    if traits.calcifications == "micro":
        _add_micro(rng, maps, (distance > 3.0) & (wet < 0.3))
    elif traits.calcifications == "macro":
        _add_macro(rng, maps, distance, site)
