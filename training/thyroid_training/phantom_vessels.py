"""The tubes beside and behind the thyroid: blood vessels and the windpipe."""

from __future__ import annotations

import numpy as np

from thyroid_training.phantom_paint import Maps, blend, draw_interface, sigmoid, wander
from thyroid_training.phantom_speckle import smooth_noise

# Decibels re thyroid. Blood is darker still: what shows is haze from the walls.
_BLOOD_DB = -24.0
_AIR_DB = -8.0
# Blood takes less from the beam than the time gain gives back, so it is brighter behind.
_BLOOD_LOSS_DB_PER_PX = -0.09


def draw_vessel(
    rng: np.random.Generator,
    maps: Maps,
    *,
    centre_px: tuple[float, float],
    radius_px: float,
    squash: float,
) -> None:
    """Draws a vessel cut across: black lumen, bright wall where the beam meets it square on.

    Args:
        rng: Source of randomness.
        maps: Where to draw.
        centre_px: Column and row of the centre.
        radius_px: Half of its width.
        squash: Height to width, 0 to 1; veins are flattened by the probe.
    """
    dx = (maps.columns - centre_px[0]) / radius_px
    dz = (maps.rows - centre_px[1]) / (radius_px * squash)
    rho = np.sqrt(dx * dx + dz * dz)
    lumen = sigmoid((1.0 - rho) * radius_px / 1.2)
    blend(maps.echo_db, _BLOOD_DB + 7.0 * np.clip(rho, 0, 1) ** 3, lumen)
    maps.coherent *= 1 - lumen
    facing = np.abs(dz) / np.maximum(rho, 1e-3)
    wall = np.exp(-0.5 * np.square((rho - 1.1) * radius_px / 1.4)) * facing**4
    blend(maps.echo_db, rng.uniform(5.0, 12.0), np.asarray(wall, np.float32))
    maps.loss_db_per_px += (rho < 1.0) * np.float32(_BLOOD_LOSS_DB_PER_PX)


def draw_vessel_along(rng: np.random.Generator, maps: Maps, row_px: float) -> None:
    """Draws the carotid cut along its length: a black band between two bright walls.

    Args:
        rng: Source of randomness.
        maps: Where to draw.
        row_px: Row of the upper wall in the middle of the picture.
    """
    height, width = maps.shape
    upper = row_px + rng.normal(0.0, 0.12) * (maps.columns[0] - width / 2)
    upper = upper + wander(rng, width, 0.015 * height, 0.8 * height)
    lower = upper + height * rng.uniform(0.09, 0.14)
    inside = sigmoid((maps.rows - upper) / 1.5) * sigmoid((lower - maps.rows) / 1.5)
    haze = _BLOOD_DB + 8.0 + 2.0 * smooth_noise(rng, height, width, 6, 30)
    blend(maps.echo_db, haze, inside)
    maps.coherent *= 1 - inside
    maps.loss_db_per_px += inside * np.float32(0.5 * _BLOOD_LOSS_DB_PER_PX)
    for wall in (upper, lower):
        draw_interface(rng, maps, wall, rng.uniform(10.0, 16.0), 1.6, patchy=rng.random() < 0.5)


def draw_trachea(
    rng: np.random.Generator, maps: Maps, *, centre_px: tuple[float, float], radius_px: float
) -> None:
    """Draws the windpipe: a bright front wall, then air: shadow with a few reverberations.

    Args:
        rng: Source of randomness.
        maps: Where to draw.
        centre_px: Column and row of the centre.
        radius_px: Radius of the ring.
    """
    height, width = maps.shape
    across = (maps.columns[0] - centre_px[0]) / radius_px
    facing = np.sqrt(np.clip(1.0 - across**2, 0.0, 1.0))
    front = centre_px[1] - radius_px * facing
    fray = 8.0 * smooth_noise(rng, height, width, 30, 14)
    inside = sigmoid((maps.rows - front) / 1.5)
    inside = inside * sigmoid(((1.0 - np.abs(across)) * radius_px + fray) / 7.0)
    depth = np.clip((maps.rows - front) / height, 0.0, None)
    clutter = 2.0 * smooth_noise(rng, height, width, 5, 24)
    blend(maps.echo_db, _AIR_DB + rng.normal(0, 2.0) - 22.0 * depth + clutter, inside)
    maps.coherent *= 1 - inside
    maps.loss_db_per_px += inside * np.float32(rng.uniform(4.0, 14.0) / (0.4 * height))
    for order in range(int(rng.integers(1, 4))):
        level = rng.uniform(6.0, 14.0) - 6.0 * order
        echo = front + order * 0.06 * height
        draw_interface(rng, maps, echo, level, 1.5, gain=facing, patchy=True)
