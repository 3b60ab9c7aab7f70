"""Anatomy of the front of the neck as maps of echo strength and attenuation.

Depth runs along the rows. Levels are decibels re normal thyroid tissue. Everything is drawn on
one working grid; sizes are shares of its height unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thyroid_training.phantom_paint import (
    Maps,
    blend,
    draw_interface,
    follow,
    sigmoid,
    wander,
)
from thyroid_training.phantom_speckle import FLOAT32, smooth_noise
from thyroid_training.phantom_vessels import draw_trachea, draw_vessel, draw_vessel_along

# Decibels re thyroid.
SKIN_DB = -0.5
FAT_DB = 0.0
MUSCLE_DB = -5.0
CONNECTIVE_DB = 0.5
DEEP_MUSCLE_DB = -6.0


@dataclass(frozen=True)
class Site:
    """Where a nodule is to lie: centre and half extents in pixels of the working grid."""

    column_px: float
    row_px: float
    half_width_px: float
    half_height_px: float


@dataclass(frozen=True)
class _Lobe:
    """Sides of the lobe, and its upper and lower course as FLOAT32 [width], all in pixels."""

    left_px: float
    right_px: float
    top_px: FLOAT32
    bottom_px: FLOAT32


def _lobe(
    rng: np.random.Generator, height: int, width: int, site: Site | None, transverse: bool
) -> _Lobe:
    """Draws the outline of the lobe so that it holds the nodule with some tissue around it."""
    columns = np.arange(width, dtype=np.float32)
    top = height * rng.uniform(0.15, 0.25) + wander(rng, width, 0.018 * height, 0.7 * height)
    depth = height * rng.uniform(0.30, 0.42)
    if transverse:
        centre = width * rng.uniform(0.40, 0.55)
        half = min(height * rng.uniform(0.38, 0.55), width * rng.uniform(0.34, 0.48))
    else:
        centre = width * rng.uniform(0.3, 0.7)
        half = width * rng.uniform(0.55, 1.1)
    left, right = centre - half, centre + half
    # The probe is seldom square to the neck: layers run across the picture at a slant.
    slant = rng.normal(0.0, 0.06) * height * (columns / width - 0.5)
    droop = 0.10 * height * rng.random()
    top = top + slant + droop * np.square((columns - centre) / half)
    bottom = top.mean() + depth + 0.7 * slant
    bottom = bottom + wander(rng, width, 0.025 * height, rng.uniform(0.25, 0.7) * height)
    if site is not None:
        reach = 1.12 * site.half_width_px + 0.02 * height
        left, right = min(left, site.column_px - reach), max(right, site.column_px + reach)
        # A swelling lobe lifts the layers above it and pushes down what lies below.
        bump = np.exp(-0.5 * np.square((columns - site.column_px) / (1.1 * site.half_width_px)))
        over = top.min() - (site.row_px - 1.12 * site.half_height_px - 0.01 * height)
        under = site.row_px + 1.10 * site.half_height_px + 0.015 * height - bottom.max()
        top = top - max(over, 0.0) * (0.35 + 0.65 * bump)
        bottom = bottom + max(under, 0.0) * (0.25 + 0.75 * bump)
    return _Lobe(
        float(left),
        float(right),
        np.maximum(top, 0.06 * height).astype(np.float32),
        bottom.astype(np.float32),
    )


def _lobe_weight(
    rng: np.random.Generator, lobe: _Lobe, rows: FLOAT32, columns: FLOAT32
) -> tuple[FLOAT32, FLOAT32]:
    """Soft membership of the lobe and its lower edge per column (a rounded box)."""
    centre, half = (lobe.left_px + lobe.right_px) / 2, (lobe.right_px - lobe.left_px) / 2
    middle = (lobe.top_px + lobe.bottom_px) / 2
    exponent = float(rng.uniform(2.6, 3.6))
    lateral = np.clip(1.0 - np.abs((columns - centre) / half) ** exponent, 0.0, 1.0)
    thick = (lobe.bottom_px - lobe.top_px) / 2 * lateral ** (1.0 / exponent)
    edge = np.abs(rows - middle) - thick
    # Nature draws no ellipses: the lobe's side is frayed.
    edge = edge + 2.5 * smooth_noise(rng, len(rows), columns.size, 14, 22)
    return sigmoid(-edge / 1.8), (middle + thick).astype(np.float32)


def _superficial(rng: np.random.Generator, maps: Maps, top: FLOAT32, striae: FLOAT32) -> None:
    """Skin, fat and strap muscles above the lobe, with their fasciae."""
    height, width = maps.shape
    rows = maps.rows
    skin = np.minimum(height * rng.uniform(0.02, 0.04), 0.3 * top)
    share = rng.uniform(0.25, 0.6)
    fat = skin + (top - skin) * share + wander(rng, width, 0.006 * height, 0.5 * height)
    muscle = sigmoid((top - rows) / 1.2)
    blend(maps.echo_db, MUSCLE_DB + rng.normal(0, 1.0) + 3.0 * striae, muscle)
    in_fat = sigmoid((fat - rows) / 1.5)
    blend(maps.echo_db, FAT_DB + rng.normal(0, 1.5) + 5.5 * striae, in_fat)
    blend(maps.echo_db, SKIN_DB + 3.0 * striae, sigmoid((skin - rows) / 1.0))
    draw_interface(rng, maps, skin + np.zeros(width), 6.0, 1.0)
    draw_interface(rng, maps, fat, rng.uniform(8.0, 18.0), 1.2)
    draw_interface(rng, maps, top - 1.0, rng.uniform(8.0, 18.0), 1.2, patchy=rng.random() < 0.5)
    for _ in range(int(rng.integers(2, 6))):
        level = skin + (top - skin) * rng.uniform(0.1, 0.95)
        tilt = wander(rng, width, 0.012 * height, 0.8 * height)
        draw_interface(rng, maps, level + tilt, rng.uniform(5.0, 15.0), 1.1, patchy=True)


def _oblique_planes(rng: np.random.Generator, maps: Maps) -> None:
    """Sheets of connective tissue that cut through the layers at a slant."""
    height, width = maps.shape
    for _ in range(int(rng.integers(1, 6))):
        start, stop = np.sort(rng.uniform(-0.1, 1.1, 2)) * width
        slope = rng.normal(0.0, 0.25)
        middle = height * rng.uniform(0.3, 0.9)
        columns = maps.columns[0]
        course = middle + slope * (columns - (start + stop) / 2)
        course = course + wander(rng, width, 0.012 * height, 40.0)
        extent = sigmoid((columns - start) / 6.0) * sigmoid((stop - columns) / 6.0)
        level = rng.uniform(6.0, 16.0)
        draw_interface(rng, maps, course, level, rng.uniform(1.2, 2.4), gain=extent, patchy=True)


def _deep(rng: np.random.Generator, maps: Maps, under: FLOAT32) -> None:
    """The long neck muscle behind the lobe and, deeper, bright bone that casts a shadow."""
    height, width = maps.shape
    gap = height * rng.uniform(0.01, 0.05)
    upper = under + gap + wander(rng, width, 0.01 * height, 0.5 * height)
    lower = upper + height * rng.uniform(0.10, 0.20) + wander(rng, width, 0.02 * height, 60)
    striae = follow(smooth_noise(rng, height, width, 3.5, 45), upper)
    inside = sigmoid((maps.rows - upper) / 1.5) * sigmoid((lower - maps.rows) / 2.0)
    blend(maps.echo_db, DEEP_MUSCLE_DB + 3.5 * striae, inside * rng.uniform(0.4, 1.0))
    draw_interface(rng, maps, upper, rng.uniform(11.0, 20.0), 1.5, patchy=True)
    if rng.random() < 0.75:
        draw_interface(rng, maps, lower, rng.uniform(13.0, 22.0), 1.9, patchy=True)
        behind = sigmoid((maps.rows - lower) / 3.0)
        maps.loss_db_per_px += behind * np.float32(rng.uniform(4.0, 30.0) / (0.3 * height))


def anatomy(
    rng: np.random.Generator, height: int, width: int, site: Site | None, *, transverse: bool
) -> Maps:
    """Draws one view of the neck without the nodule itself.

    Args:
        rng: Source of randomness.
        height: Rows of the working grid.
        width: Columns of the working grid.
        site: Where the nodule will lie, so that the lobe makes room for it, or None.
        transverse: Across the neck (lobe between windpipe and carotid), else along it.

    Returns:
        The maps.
    """
    maps = Maps.blank(height, width)
    mirrored = rng.random() < 0.5
    if mirrored and site is not None:
        site = Site(
            width - 1 - site.column_px, site.row_px, site.half_width_px, site.half_height_px
        )
    lobe = _lobe(rng, height, width, site, transverse)
    striae = follow(
        smooth_noise(rng, height, width, rng.uniform(2.2, 4.0), rng.uniform(30, 80)), lobe.top_px
    )
    clumps = smooth_noise(rng, height, width, rng.uniform(6, 11), rng.uniform(16, 32))
    maps.echo_db += CONNECTIVE_DB + 2.2 * clumps + 2.4 * striae
    maps.echo_db += np.float32(rng.uniform(4.0, 9.0)) * np.clip(clumps - 0.5, 0, 1.3)

    _oblique_planes(rng, maps)
    weight, under = _lobe_weight(rng, lobe, maps.rows, maps.columns[0])
    _deep(rng, maps, lobe.bottom_px)
    mottle = smooth_noise(rng, height, width, 5, 7)
    patches = smooth_noise(rng, height, width, 25, 40)
    blend(maps.echo_db, 1.3 * mottle + 1.0 * patches, weight)
    for _ in range(int(rng.integers(0, 4))):
        place = (
            rng.uniform(max(lobe.left_px, 0), min(lobe.right_px, width)),
            0.2 + 0.4 * rng.random(),
        )
        draw_vessel(
            rng,
            maps,
            centre_px=(place[0], place[1] * height),
            radius_px=rng.uniform(0.008, 0.02) * height,
            squash=rng.uniform(0.5, 1.0),
        )
    if not transverse and rng.random() < 0.2:
        draw_vessel_along(rng, maps, lobe.bottom_px.max() + height * rng.uniform(0.0, 0.08))
    draw_interface(rng, maps, under, rng.uniform(7.0, 18.0), 1.4, patchy=True)
    _superficial(rng, maps, lobe.top_px, striae)

    if transverse:
        if rng.random() < 0.75:
            radius = height * rng.uniform(0.065, 0.12)
            row = height * rng.uniform(0.30, 0.48)
            carotid = lobe.left_px - 0.85 * radius, row
            draw_vessel(rng, maps, centre_px=carotid, radius_px=radius, squash=0.92)
            if rng.random() < 0.4:
                jugular = carotid[0] - 2.3 * radius, row - 0.8 * radius
                draw_vessel(rng, maps, centre_px=jugular, radius_px=1.2 * radius, squash=0.5)
        if rng.random() < 0.6:
            size = height * rng.uniform(0.15, 0.22)
            row = float(lobe.top_px.mean()) + size + height * rng.uniform(0.0, 0.06)
            draw_trachea(rng, maps, centre_px=(lobe.right_px + 0.75 * size, row), radius_px=size)
    return maps.mirrored() if mirrored else maps
