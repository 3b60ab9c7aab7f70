"""What happens to the beam on its way: attenuation, time gain compensation, contact."""

from __future__ import annotations

import numpy as np

from thyroid_training.phantom_paint import Maps, sigmoid, wander
from thyroid_training.phantom_speckle import FLOAT32


def depth_gain_db(rng: np.random.Generator, height: int, width: int) -> FLOAT32:
    """What attenuation less time gain compensation leaves, with uneven contact of the probe.

    Args:
        rng: Source of randomness.
        height: Rows.
        width: Columns.

    Returns:
        FLOAT32 [height, width], decibels to add.
    """
    depth = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    slope, bend = rng.uniform(3.0, 11.0), rng.uniform(0.0, 12.0)
    gain = -slope * depth - bend * depth**3
    gain = gain + wander(rng, width, 2.2, 14.0) * depth + wander(rng, width, 1.0, 50.0)
    if rng.random() < 0.4:
        # Beyond some depth there is not enough energy left.
        limit = rng.uniform(0.6, 0.9) + wander(rng, width, 0.03, 60.0)
        gain = gain - rng.uniform(8.0, 24.0) * sigmoid((depth - limit) / rng.uniform(0.03, 0.08))
    across = np.linspace(0.0, 1.0, width, dtype=np.float32)
    if rng.random() < 0.45:
        # One end of the probe has lifted off the skin.
        side = across if rng.random() < 0.5 else across[::-1]
        lift_off = sigmoid((side - rng.uniform(0.75, 1.0)) / rng.uniform(0.02, 0.06))
        gain = gain - rng.uniform(8.0, 22.0) * lift_off * (0.3 + 0.7 * depth)
    if rng.random() < 0.3:
        # Hair, a bubble in the gel or a crease in the skin shades all that lies below it.
        centre, half = rng.uniform(0.0, 1.0), rng.uniform(0.015, 0.06)
        strip = np.exp(-0.5 * np.square((across - centre) / half))
        start = sigmoid((depth - rng.uniform(0.02, 0.35)) / 0.02)
        gain = gain - rng.uniform(3.0, 9.0) * strip * start
    return np.asarray(gain, dtype=np.float32)


def received(rng: np.random.Generator, maps: Maps) -> tuple[FLOAT32, FLOAT32]:
    """Applies losses and gain to the maps.

    Args:
        rng: Source of randomness of the gain.
        maps: What the beam meets.

    Returns:
        FLOAT32 [height, width] twice: root mean square amplitude of the diffuse echo, and
        amplitude of the coherent echo, both as they reach the receiver, re thyroid at the skin.
    """
    neper_per_db = np.float32(np.log(10.0) / 20.0)
    gain_db = depth_gain_db(rng, *maps.shape) - np.cumsum(maps.loss_db_per_px, axis=0)
    gain = np.exp(gain_db * neper_per_db)
    return np.exp(maps.echo_db * neper_per_db) * gain, maps.coherent * gain
