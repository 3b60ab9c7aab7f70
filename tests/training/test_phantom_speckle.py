"""Speckle against the statistics that theory gives, by another library."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from thyroid_training.phantom_speckle import PointSpread, log_compress, speckle_envelope


def homogeneous_envelope(seed: int, amplitude: float = 3.0) -> NDArray[np.float32]:
    field = np.full((400, 500), amplitude, np.float32)
    return speckle_envelope(np.random.default_rng(seed), field, PointSpread())


def test_homogeneous_speckle_is_rayleigh() -> None:
    envelope = homogeneous_envelope(0)
    assert envelope.mean() / envelope.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.02)
    # Samples further apart than the point spread reaches are independent.
    samples = np.concatenate([homogeneous_envelope(seed)[3::9, 5::27].ravel() for seed in range(4)])
    outcome = stats.kstest(samples, stats.rayleigh(scale=3.0 / np.sqrt(2)).cdf)
    assert outcome.pvalue > 0.01


def test_rayleigh_test_has_power() -> None:
    """The check above would notice an envelope that is not fully developed speckle."""
    field = np.full((400, 500), 3.0, np.float32)
    rician = speckle_envelope(np.random.default_rng(0), field, PointSpread(), coherent=field)
    outcome = stats.kstest(rician[3::9, 5::27].ravel(), stats.rayleigh(scale=3 / np.sqrt(2)).cdf)
    assert outcome.pvalue < 1e-6


@pytest.mark.parametrize(
    "region",
    [
        pytest.param(np.s_[:40, :], id="near"),
        pytest.param(np.s_[180:220, :], id="middle"),
        pytest.param(np.s_[-40:, :], id="far"),
        pytest.param(np.s_[:, :6], id="left border"),
        pytest.param(np.s_[:, -6:], id="right border"),
    ],
)
def test_mean_power_is_the_amplitude_everywhere(region: tuple[slice, slice]) -> None:
    power = np.mean([np.square(homogeneous_envelope(seed)[region]).mean() for seed in range(12)])
    assert power == pytest.approx(9.0, rel=0.06)


def width_at_half(profile: NDArray[np.float64]) -> float:
    below = int(np.argmax(profile < 0.5))
    above = below - 1
    return float(above + (profile[above] - 0.5) / (profile[above] - profile[below]))


def autocorrelation(patch: NDArray[np.float32], axis: int) -> NDArray[np.float64]:
    spectrum = np.abs(np.fft.fft(patch - patch.mean(), axis=axis)) ** 2
    correlation = np.fft.ifft(spectrum, axis=axis).real.sum(axis=1 - axis)
    return np.asarray(correlation / correlation[0])


def test_speckle_is_wider_than_high_and_widens_with_depth() -> None:
    envelope = homogeneous_envelope(0)
    near, far = envelope[:60], envelope[-60:]
    lateral_near = width_at_half(autocorrelation(near, 1))
    lateral_far = width_at_half(autocorrelation(far, 1))
    axial = width_at_half(autocorrelation(envelope, 0))
    assert axial < lateral_near < lateral_far
    # exp(-d^2 / (2 sigma^2)) is the autocorrelation of speckle under a Gaussian spread.
    assert axial == pytest.approx(1.177 * PointSpread().axial_px, rel=0.25)


def test_log_compression_maps_the_dynamic_range_onto_the_display() -> None:
    decibels = np.array([[-80.0, -60.0, -30.0, 0.0, 20.0]], np.float32)
    envelope = (10 ** (decibels / 20)).astype(np.float32)
    grey = log_compress(envelope, dynamic_range_db=60.0, floor_db=-60.0, gamma=1.0)
    np.testing.assert_allclose(grey, [[0.0, 0.0, 127.5, 255.0, 255.0]], atol=0.01)
    curved = log_compress(envelope, dynamic_range_db=60.0, floor_db=-60.0, gamma=2.0)
    np.testing.assert_allclose(curved, [[0.0, 0.0, 63.75, 255.0, 255.0]], atol=0.01)
