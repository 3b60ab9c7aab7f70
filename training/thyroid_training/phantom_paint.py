"""Brushes of the phantom: soft edges, curved textures, bright interfaces on a set of maps."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from thyroid_training.phantom_speckle import FLOAT32, smooth_noise


@dataclass
class Maps:
    """What the beam meets, on one working grid; the brushes draw into the arrays.

    Attributes:
        echo_db: FLOAT32 [height, width], diffuse echo, decibels re thyroid.
        coherent: FLOAT32 [height, width], echo of mirror-like interfaces, as an amplitude re the
            root mean square of thyroid.
        loss_db_per_px: FLOAT32 [height, width], attenuation beyond what the time gain
            compensates; negative where less is lost (fluid).
        rows: FLOAT32 [height, 1], row numbers.
        columns: FLOAT32 [1, width], column numbers.
    """

    echo_db: FLOAT32
    coherent: FLOAT32
    loss_db_per_px: FLOAT32
    rows: FLOAT32
    columns: FLOAT32

    @classmethod
    def blank(cls, height: int, width: int) -> Maps:
        """Maps of 0 dB without interfaces or losses."""
        rows = np.arange(height, dtype=np.float32)[:, None]
        columns = np.arange(width, dtype=np.float32)[None, :]
        shape = height, width
        return cls(
            np.zeros(shape, np.float32),
            np.zeros(shape, np.float32),
            np.zeros(shape, np.float32),
            rows,
            columns,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.echo_db.shape[0], self.echo_db.shape[1]

    def mirrored(self) -> Maps:
        """The same maps with left and right exchanged."""
        return Maps(
            np.ascontiguousarray(self.echo_db[:, ::-1]),
            np.ascontiguousarray(self.coherent[:, ::-1]),
            np.ascontiguousarray(self.loss_db_per_px[:, ::-1]),
            self.rows,
            self.columns,
        )


def sigmoid(value: ArrayLike) -> FLOAT32:
    """Logistic function in single precision, safe at any argument."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * np.asarray(value, np.float32)), np.float32)


def blend(target: FLOAT32, value: ArrayLike, weight: FLOAT32) -> None:
    """Moves `target` in place towards `value` by `weight` (0 to 1)."""
    target += weight * (np.asarray(value, np.float32) - target)


def wander(rng: np.random.Generator, width: int, size: float, cell_px: float) -> FLOAT32:
    """A smooth random course over the columns: FLOAT32 [width], standard deviation `size`."""
    course = smooth_noise(rng, 1, width, 1.0, cell_px)[0]
    return np.asarray(course * np.float32(size), dtype=np.float32)


def follow(texture: FLOAT32, course: FLOAT32) -> FLOAT32:
    """Bends a texture so that its rows run along `course` (FLOAT32 [width], pixels)."""
    height, width = texture.shape
    rows = np.arange(height, dtype=np.float32)[:, None] - (course - course.mean())
    columns = np.broadcast_to(np.arange(width, dtype=np.float32), (height, width))
    return np.asarray(
        cv2.remap(
            texture,
            np.ascontiguousarray(columns),
            rows.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
    )


def draw_interface(
    rng: np.random.Generator,
    maps: Maps,
    course: ArrayLike,
    level_db: float,
    thickness_px: float,
    *,
    gain: ArrayLike = 1.0,
    patchy: bool = False,
) -> None:
    """Adds a bright line, half mirror-like and half diffuse, along a course over the columns.

    Args:
        rng: Source of randomness for the changes of strength along the line.
        maps: Where to draw.
        course: FLOAT32 [width], row of the line in each column.
        level_db: Strength, decibels re thyroid.
        thickness_px: Standard deviation of the line across.
        gain: Factor per column, 0 to 1.
        patchy: Whether the line comes and goes.
    """
    height, width = maps.shape
    centre = np.asarray(course, np.float32)
    strength = np.float32(10 ** (level_db / 20.0)) * np.asarray(gain, np.float32)
    swing = np.exp(0.35 * wander(rng, width, 1.0, 25.0) + 0.25 * wander(rng, width, 1.0, 8.0))
    # A mirror sends the echo back only where it lies square to the beam.
    slope = np.gradient(centre) if width > 1 else np.zeros(width)
    strength = strength * swing / (1.0 + np.square(2.2 * slope))
    if patchy:
        strength = strength * sigmoid(3.0 * wander(rng, width, 1.0, 55.0))
    reach = int(np.ceil(3 * thickness_px))
    rows = np.round(centre).astype(np.intp)[None, :] + np.arange(-reach, reach + 1)[:, None]
    profile = np.exp(-0.5 * np.square((rows - centre) / thickness_px)) * strength
    valid = (rows >= 0) & (rows < height)
    columns = np.broadcast_to(np.arange(width), rows.shape)
    at = rows[valid], columns[valid]
    maps.coherent[at] += 0.5 * profile[valid]
    lifted = 20.0 * np.log10(10 ** (maps.echo_db[at] / 20.0) + 0.8 * profile[valid])
    maps.echo_db[at] = lifted
