"""Augmentation that respects ultrasound: never upside down, gain and speckle as scanners vary."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class AugmentConfig:
    """How far pictures are varied; every draw is uniform within its range unless said otherwise.

    Attributes:
        scale: Largest factor of zoom, in and out.
        rotation_deg: Largest rotation either way.
        shift_share: Largest shift either way, as a share of the side.
        stretch: Largest factor by which width and height are scaled apart.
        gain: Largest factor of gain either way.
        gamma: Largest exponent of contrast either way.
        depth_gain: Largest change of gain from top to bottom.
        noise_grey: Largest strength of added speckle-like noise, in grey values; smoothed as it is,
            its standard deviation is 0.64 of that.
        shadow_share: Probability of an acoustic shadow.
    """

    scale: float = 1.3
    rotation_deg: float = 12.0
    shift_share: float = 0.08
    stretch: float = 1.1
    gain: float = 1.3
    gamma: float = 1.3
    depth_gain: float = 0.3
    noise_grey: float = 10.0
    shadow_share: float = 0.15


def _factor(rng: np.random.Generator, largest: float) -> float:
    """A factor from 1/largest to largest, log-uniform, so that in and out are equally likely."""
    return float(np.exp(rng.uniform(-np.log(largest), np.log(largest))))


def augment(
    frame: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.bool_],
    rng: np.random.Generator,
    config: AugmentConfig,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Vary one square picture and its mask.

    Args:
        frame: UINT8 [S, S].
        mask: bool [S, S].
        rng: Source of all draws.
        config: How far.

    Returns:
        Picture and mask, varied, of the same shapes.
    """
    side = frame.shape[0]
    matrix = _affine(side, rng, config)
    warped = cv2.warpAffine(frame, matrix, (side, side), flags=cv2.INTER_LINEAR)
    warped_mask = cv2.warpAffine(
        mask.astype(np.uint8), matrix, (side, side), flags=cv2.INTER_NEAREST
    )
    return _vary_echo(np.asarray(warped, np.uint8), rng, config), warped_mask.astype(np.bool_)


def _affine(side: int, rng: np.random.Generator, config: AugmentConfig) -> npt.NDArray[np.float64]:
    centre = ((side - 1) / 2, (side - 1) / 2)  # OpenCV's whole numbers are pixels' centres
    rotation = rng.uniform(-config.rotation_deg, config.rotation_deg)
    turned = cv2.getRotationMatrix2D(centre, rotation, _factor(rng, config.scale))
    stretch = _factor(rng, config.stretch)
    flip = rng.choice((-1.0, 1.0))  # left and right are alike; up and down never are
    apart = np.diag([flip * stretch, 1 / stretch])
    matrix = np.asarray(turned, np.float64)
    matrix[:, :2] = matrix[:, :2] @ apart
    shift = rng.uniform(-config.shift_share, config.shift_share, 2) * side
    matrix[:, 2] = np.array(centre) + shift - matrix[:, :2] @ np.array(centre)
    return matrix


def _vary_echo(
    frame: npt.NDArray[np.uint8], rng: np.random.Generator, config: AugmentConfig
) -> npt.NDArray[np.uint8]:
    side = frame.shape[0]
    grey = frame.astype(np.float32) / 255
    grey = grey ** _factor(rng, config.gamma) * np.float32(_factor(rng, config.gain))
    slope = rng.uniform(-config.depth_gain, config.depth_gain)
    grey *= (1 + slope * np.linspace(-0.5, 0.5, side, dtype=np.float32))[:, None]
    if rng.random() < config.shadow_share:
        grey *= _shadow(side, rng)
    if config.noise_grey > 0:
        # Speckle is as wide as the scanner's beam, so the noise is smoothed sideways.
        noise = rng.standard_normal((side, side), dtype=np.float32)
        noise = cv2.GaussianBlur(noise, (5, 3), 0) * (rng.uniform(0, config.noise_grey) / 255 * 2)
        grey += noise * (frame > 0)  # the surround stays black
    return (np.clip(grey, 0, 1) * 255 + 0.5).astype(np.uint8)


def _shadow(side: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A dark band below some depth, with soft sides: FP32 [side, side], 0.3 to 1."""
    centre, width = rng.uniform(0, side), rng.uniform(0.03, 0.12) * side
    across = np.exp(-0.5 * ((np.arange(side) - centre) / width) ** 2)
    down = 1 / (1 + np.exp(-(np.arange(side) - rng.uniform(0.1, 0.7) * side) / (0.03 * side)))
    depth = rng.uniform(0.3, 0.7)
    shadow: npt.NDArray[np.float64] = 1 - depth * down[:, None] * across[None, :]
    return shadow.astype(np.float32)
