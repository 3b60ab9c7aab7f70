"""Speckle: from a map of echo strengths to the grey levels of a B-mode display.

Fully developed speckle is the sum of many scatterers with random phases: a circular complex
Gaussian field. Its magnitude, the envelope, has a Rayleigh distribution with mean / standard
deviation = sqrt(pi / (4 - pi)) = 1.913 (R. F. Wagner et al., *Statistics of speckle in ultrasound
B-scans*, IEEE Trans. Sonics Ultrason. 30(3), 1983).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

FLOAT32 = NDArray[np.float32]


@dataclass(frozen=True)
class PointSpread:
    """Gaussian point spread of the scanner, standard deviations in pixels of the field.

    Attributes:
        axial_px: Along the beam, the same at every depth.
        lateral_near_px: Across the beam at the first row.
        lateral_far_px: Across the beam at the last row.
    """

    axial_px: float = 0.85
    lateral_near_px: float = 1.7
    lateral_far_px: float = 3.2


def smooth_noise(
    rng: np.random.Generator, height: int, width: int, cell_rows: float, cell_columns: float
) -> FLOAT32:
    """Smooth random texture of about zero mean and unit standard deviation.

    Args:
        rng: Source of randomness.
        height: Rows of the result.
        width: Columns of the result.
        cell_rows: Size of a grain along the rows, in pixels.
        cell_columns: Size of a grain along the columns, in pixels.

    Returns:
        FLOAT32 [height, width].
    """
    rows = max(2, int(np.ceil(height / cell_rows)) + 1)
    columns = max(2, int(np.ceil(width / cell_columns)) + 1)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    # Interpolation averages neighbours: about 0.77 of the deviation is left per interpolated axis.
    return np.asarray(fine * np.float32(1.45), dtype=np.float32)


def _kernel(sigma_px: float, radius: int) -> FLOAT32:
    kernel = cv2.getGaussianKernel(2 * radius + 1, sigma_px, cv2.CV_32F)
    return np.asarray(kernel, dtype=np.float32).ravel()


def speckle_envelope(
    rng: np.random.Generator,
    amplitude: FLOAT32,
    spread: PointSpread,
    coherent: FLOAT32 | None = None,
) -> FLOAT32:
    """Envelope of a field of random scatterers seen through the scanner's point spread.

    Circular complex Gaussian scatterers, weighted by `amplitude`, are convolved with an
    anisotropic Gaussian; the lateral width grows with depth as a row-wise blend of a narrow and a
    wide kernel. Each row is divided by the norm of its kernel, so that where `amplitude` is a
    constant A and there is no coherent echo the envelope is Rayleigh with mean square A^2.

    Args:
        rng: Source of randomness.
        amplitude: FLOAT32 [height, width], root mean square echo, at least 0.
        spread: The point spread.
        coherent: FLOAT32 [height, width] or None, added in phase: mirror-like interfaces, whose
            echo does not fluctuate (the envelope there is Rician).

    Returns:
        FLOAT32 [height, width], at least 0.
    """
    height, width = amplitude.shape
    axial_radius = int(np.ceil(3 * spread.axial_px))
    lateral_radius = int(np.ceil(3 * max(spread.lateral_near_px, spread.lateral_far_px)))
    axial = _kernel(spread.axial_px, axial_radius)
    near = _kernel(spread.lateral_near_px, lateral_radius)
    far = _kernel(spread.lateral_far_px, lateral_radius)

    # The border is made of scatterers too: reflecting it would correlate the field with itself.
    padded = cv2.copyMakeBorder(
        amplitude,
        axial_radius,
        axial_radius,
        lateral_radius,
        lateral_radius,
        cv2.BORDER_REPLICATE,
    )
    field = rng.standard_normal((*padded.shape, 2), dtype=np.float32)
    field *= padded[..., None]
    crop = np.s_[axial_radius : axial_radius + height, lateral_radius : lateral_radius + width]
    narrow = cv2.sepFilter2D(field, cv2.CV_32F, near, axial)[crop]
    wide = cv2.sepFilter2D(field, cv2.CV_32F, far, axial)[crop]

    depth = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    norm = np.linalg.norm((1 - depth) * near + depth * far, axis=1) * np.linalg.norm(axial)
    # Two planes of unit variance have a mean square magnitude of 2.
    scale = (1.0 / (np.sqrt(2.0) * norm)).astype(np.float32)[:, None]
    narrow_share, wide_share = ((1 - depth) * scale)[..., None], (depth * scale)[..., None]
    field = narrow * narrow_share + wide * wide_share
    real = field[..., 0] if coherent is None else field[..., 0] + coherent
    return np.asarray(cv2.magnitude(np.ascontiguousarray(real), field[..., 1].copy()))


def video_filter(rng: np.random.Generator, envelope: FLOAT32, noise: float) -> FLOAT32:
    """Smooths an envelope as a scanner does between detection and display.

    Scan conversion and averaging over frames fill the narrow nulls of raw speckle, which no
    exported picture shows.

    Args:
        rng: Source of randomness of the noise.
        envelope: FLOAT32 [height, width].
        noise: Level of the receiver's own noise, added in power. Averaging has taken most of its
            fluctuation (a third is left), and it is finer than speckle: no point spread shapes it.

    Returns:
        FLOAT32 [height, width].
    """
    smoothed = cv2.GaussianBlur(envelope, (0, 0), sigmaX=0.9, sigmaY=0.35)
    white = rng.standard_normal(envelope.shape, dtype=np.float32)
    # Smoothing over three samples with weights 1:2:1 leaves sqrt(6) / 4 of the deviation.
    grain = cv2.sepFilter2D(white, cv2.CV_32F, np.array([0.25, 0.5, 0.25]), np.ones(1))
    level = np.float32(noise) * (1.0 + np.float32(0.33 * 4 / np.sqrt(6.0)) * grain)
    return np.asarray(np.hypot(smoothed, level), np.float32)


def log_compress(
    envelope: FLOAT32,
    *,
    dynamic_range_db: float,
    floor_db: float,
    gamma: float,
) -> FLOAT32:
    """Display grey levels of an envelope.

    Decibels above `floor_db`, as a share of the dynamic range and limited to 0 to 1, go through a
    power law: scanners call this the grey map, and it keeps dim tissue quiet.

    Args:
        envelope: FLOAT32, at least 0.
        dynamic_range_db: Decibels between black and white, above 0.
        floor_db: Level, in decibels re an envelope of 1, shown as black.
        gamma: Exponent of the grey map, 1 for none.

    Returns:
        FLOAT32 of the same shape, 0 to 255, not rounded.
    """
    decibels = np.float32(20.0) * np.log10(np.maximum(envelope, np.float32(1e-6)))
    level = np.clip((decibels - np.float32(floor_db)) / np.float32(dynamic_range_db), 0.0, 1.0)
    return np.asarray(cv2.pow(level, gamma) * np.float32(255.0), dtype=np.float32)
