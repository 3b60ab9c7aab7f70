"""Frames that are no thyroid ultrasound: what the gate must flag."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from thyroid_pipeline import contract

Frame = npt.NDArray[np.uint8]

_SIDE = contract.FRAME_SIDE_PX


def natural_noise(generator: np.random.Generator) -> Frame:
    """A picture with the spectrum of photographs: amplitude falls as one over frequency.

    Field, J. Optical Society of America A 4, 1987: so a photograph's statistics are had without
    anybody's photograph.

    Args:
        generator: Source of the phases.

    Returns:
        UINT8 [FRAME_SIDE_PX, FRAME_SIDE_PX], over the whole range.
    """
    frequency = np.hypot(np.fft.fftfreq(_SIDE)[:, None], np.fft.fftfreq(_SIDE)[None])
    frequency[0, 0] = 1.0
    white = np.fft.fft2(generator.standard_normal((_SIDE, _SIDE)))
    picture = np.fft.ifft2(white / frequency).real
    low, high = np.percentile(picture, (1, 99))
    return _displayed((picture - low) / (high - low))


def speckle_alone(generator: np.random.Generator) -> Frame:
    """What a scanner shows of a bath of scatterers: speckle of one brightness, and no tissue.

    Args:
        generator: Source of the scatterers.

    Returns:
        UINT8 [FRAME_SIDE_PX, FRAME_SIDE_PX]: the logarithm of a Rayleigh amplitude (Wagner et al.,
        IEEE Trans. Sonics and Ultrasonics 30, 1983).
    """
    parts = generator.standard_normal((2, _SIDE, _SIDE)).astype(np.float32)
    # A beam is wider than a pulse is long.
    real, imaginary = (cv2.GaussianBlur(part, (0, 0), sigmaX=3, sigmaY=1.5) for part in parts)
    amplitude = np.hypot(real, imaginary)
    decibel = 20 * np.log10(amplitude / amplitude.max() + 1e-6)
    return _displayed(1 + decibel / 50)


def _displayed(brightness: npt.NDArray[np.floating[Any]]) -> Frame:
    """From black at 0 and below to white at 1 and above."""
    return np.asarray(np.clip(brightness, 0, 1) * 255 + 0.5, np.uint8)


def inverted(frame: Frame) -> Frame:
    """The negative within the sector; the surround stays black."""
    return np.where(frame > 0, 255 - frame, 0).astype(np.uint8)


def saturated(frame: Frame) -> Frame:
    """Five times the gain: what is not black is mostly white."""
    return np.minimum(frame.astype(np.int32) * 5, 255).astype(np.uint8)


def upside_down(frame: Frame) -> Frame:
    """The skin below."""
    return np.ascontiguousarray(frame[::-1])


ALTERED: Mapping[str, Callable[[Frame], Frame]] = {
    "DDTI inverted": inverted,
    "DDTI saturated": saturated,
    "DDTI upside down": upside_down,
}
"""Ways to spoil a thyroid frame, by the name of what comes out."""

MADE: Mapping[str, Callable[[np.random.Generator], Frame]] = {
    "natural-looking noise": natural_noise,
    "speckle without tissue": speckle_alone,
}
"""Ways to make a frame that was never a thyroid."""


def foreign_frames(thyroids: Sequence[Frame], count: int, seed: int) -> dict[str, list[Frame]]:
    """Make frames that are no thyroid ultrasound.

    Args:
        thyroids: Frames to spoil.
        count: Of each kind that is made from nothing.
        seed: Of those.

    Returns:
        Frames by name of their kind.
    """
    frames = {name: [spoil(frame) for frame in thyroids] for name, spoil in ALTERED.items()}
    for number, (name, make) in enumerate(MADE.items()):
        generator = np.random.default_rng((seed, number))
        frames[name] = [make(generator) for _ in range(count)]
    return frames
