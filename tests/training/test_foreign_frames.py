"""Frames that are no thyroids: each kind has the statistics that its name promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage, stats

from thyroid_pipeline import contract
from thyroid_training.foreign_frames import (
    ALTERED,
    MADE,
    foreign_frames,
    inverted,
    natural_noise,
    saturated,
    speckle_alone,
    upside_down,
)

SIDE = contract.FRAME_SIDE_PX
Frame = NDArray[np.uint8]

frames = arrays(np.uint8, (9, 7))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def thyroids() -> list[Frame]:
    """Two frames with a black surround."""
    made = rng(5).integers(1, 256, (2, SIDE, SIDE)).astype(np.uint8)
    made[:, :, :40] = 0
    return list(made)


# --- what is made


@pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())
def test_made_frames_are_frames_of_one_seed(make: object) -> None:
    assert callable(make)
    frame = make(rng(3))
    assert frame.shape == (SIDE, SIDE)
    assert frame.dtype == np.uint8
    np.testing.assert_array_equal(frame, make(rng(3)))
    assert (frame != make(rng(4))).mean() > 0.9
    assert np.ptp(frame) > 200, "of the whole range of grey"


def radial_amplitude(frame: Frame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Root mean square amplitude of the spectrum in rings one cycle wide."""
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(frame - frame.mean())))
    rows, columns = np.indices(frame.shape) - SIDE // 2
    rings = np.rint(np.hypot(rows, columns)).astype(int)
    cycles = np.arange(4, SIDE // 4)
    return cycles.astype(float), np.sqrt(ndimage.mean(spectrum**2, rings, cycles))


def slope(frame: Frame) -> float:
    cycles, amplitude = radial_amplitude(frame)
    return float(np.polyfit(np.log(cycles), np.log(amplitude), 1)[0])


def test_natural_noise_falls_as_photographs_do() -> None:
    slopes = [slope(natural_noise(rng(seed))) for seed in range(4)]
    assert np.mean(slopes) == pytest.approx(-1, abs=0.1)
    # A measure that finds no slope in white noise.
    white = rng().integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    assert slope(white) == pytest.approx(0, abs=0.05)


def test_natural_noise_runs_alike_in_all_directions() -> None:
    frame = natural_noise(rng(1)).astype(float)
    across, down = (np.abs(np.diff(frame, axis=axis)).mean() for axis in (1, 0))
    assert across == pytest.approx(down, rel=0.1)


def amplitude_of(frame: Frame) -> NDArray[np.float64]:
    """Undo the display: 50 dB over 255 grey values."""
    return np.asarray(10 ** ((frame.astype(float) / 255 - 1) * 50 / 20))


def test_speckle_before_compression_is_rayleigh() -> None:
    """Its signal to noise ratio is 1.91 whatever its brightness, and its quantiles are Rayleigh's.

    Pixels farther apart than the point spread stand alone; those at the display's floor are left
    out of the fit by quantiles above it.
    """
    picked = np.concatenate(
        [amplitude_of(speckle_alone(rng(seed)))[::8, ::16] for seed in range(4)]
    )
    ratio = picked.mean() / picked.std()
    assert ratio == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.05)
    shares = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
    wanted = stats.rayleigh.ppf(shares) / stats.rayleigh.median()
    found = np.quantile(picked, shares) / np.median(picked)
    np.testing.assert_allclose(found, wanted, rtol=0.08)


def test_speckle_shows_no_tissue() -> None:
    frame = speckle_alone(rng(2)).astype(float)
    # Averaged over cells many times a speckle, all is alike.
    cells = frame[:384, :384].reshape(6, 64, 6, 64).mean(axis=(1, 3))
    assert cells.std() < 0.2 * frame.std()
    # A speckle is wider than high: a beam is wider than a pulse is long.
    across, down = (
        np.corrcoef(frame[:-3, :-3].ravel(), np.roll(frame, -3, axis=axis)[:-3, :-3].ravel())[0, 1]
        for axis in (1, 0)
    )
    assert across > 2 * max(down, 0.05)


# --- what is spoilt


@given(frames)
def test_inverted_twice_is_the_frame(frame: Frame) -> None:
    """White within the sector turns black, as the surround is, and stays so; all else is back."""
    twice = inverted(inverted(frame))
    came_back = frame < 255
    np.testing.assert_array_equal(twice[came_back], frame[came_back])
    assert not twice[~came_back].any()
    assert not inverted(frame)[frame == 0].any(), "the surround stays black"


@given(frames)
def test_inversion_turns_the_order_round(frame: Frame) -> None:
    inside = frame[frame > 0].astype(int)
    np.testing.assert_array_equal(inverted(frame)[frame > 0], 255 - inside)


@given(frames)
def test_saturation_never_darkens_nor_lights_the_surround(frame: Frame) -> None:
    spoilt = saturated(frame)
    assert (spoilt >= frame).all()
    assert ((spoilt == 0) == (frame == 0)).all()
    assert (spoilt[frame >= 51] == 255).all()
    np.testing.assert_array_equal(spoilt[frame < 51], frame[frame < 51] * 5)


@given(frames)
def test_upside_down_twice_is_the_frame(frame: Frame) -> None:
    turned = upside_down(frame)
    np.testing.assert_array_equal(turned[0], frame[-1])
    np.testing.assert_array_equal(upside_down(turned), frame)
    assert turned.flags.c_contiguous, "torch takes no negative strides"


@pytest.mark.parametrize("spoil", ALTERED.values(), ids=ALTERED.keys())
def test_spoiling_leaves_the_frame_alone(spoil: object, thyroids: list[Frame]) -> None:
    assert callable(spoil)
    frame = thyroids[0]
    kept = frame.copy()
    spoilt = spoil(frame)
    np.testing.assert_array_equal(frame, kept)
    assert spoilt.shape == (SIDE, SIDE)
    assert spoilt.dtype == np.uint8
    assert (spoilt != frame).mean() > 0.5
    assert not spoilt[:, :40].any()


# --- all of them


def test_all_kinds_are_made(thyroids: list[Frame]) -> None:
    kinds = foreign_frames(thyroids, 2, seed=9)
    assert list(kinds) == [*ALTERED, *MADE]
    for name, made in kinds.items():
        assert len(made) == 2, name
        assert {frame.shape for frame in made} == {(SIDE, SIDE)}
        assert {frame.dtype for frame in made} == {np.dtype(np.uint8)}
        assert (made[0] != made[1]).any(), "one frame twice"


@given(st.integers(0, 2**31))
def test_frames_depend_on_the_seed_alone(seed: int) -> None:
    """More of them, or of another kind, change none."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("thyroid_training.foreign_frames._SIDE", 16)
        few, more = (foreign_frames([], count, seed) for count in (1, 3))
        other = foreign_frames([], 1, seed + 1)
    for name in MADE:
        np.testing.assert_array_equal(few[name][0], more[name][0])
        assert (few[name][0] != other[name][0]).any()
    assert all(not few[name] for name in ALTERED)
