"""Augmentation: picture and mask move together, up stays up, black stays black."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from thyroid_training.augment import AugmentConfig, augment
from thyroid_training.mask_agreement import dice

SIDE = 96
ALL = AugmentConfig()
# Moves the picture as far as `ALL` does and leaves its grey values alone.
MOVES = AugmentConfig(gain=1.0, gamma=1.0, depth_gain=0.0, noise_grey=0.0, shadow_share=0.0)
STILL = AugmentConfig(
    scale=1.0,
    rotation_deg=0.0,
    shift_share=0.0,
    stretch=1.0,
    gain=1.0,
    gamma=1.0,
    depth_gain=0.0,
    noise_grey=0.0,
    shadow_share=0.0,
)

seeds = st.integers(0, 2**32 - 1)
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]


def disc(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    return np.asarray((COLUMNS - x) ** 2 + (ROWS - y) ** 2 < radius**2)


def vary(
    frame: NDArray[np.uint8], mask: NDArray[np.bool_], seed: int, config: AugmentConfig
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    return augment(frame, mask, np.random.default_rng(seed), config)


@settings(max_examples=80, deadline=None)
@given(seed=seeds, x=st.floats(25, 70), y=st.floats(25, 70), radius=st.floats(10, 20))
def test_picture_and_mask_move_together(seed: int, x: float, y: float, radius: float) -> None:
    mask = disc(x, y, radius)
    frame = np.where(mask, np.uint8(200), np.uint8(40))
    moved, moved_mask = vary(frame, mask, seed, MOVES)
    assert dice(moved >= 120, moved_mask) > 0.97


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_a_bright_nodule_stays_bright_under_all_variations(seed: int) -> None:
    mask = disc(40, 50, 18)
    frame = np.where(mask, np.uint8(230), np.uint8(30))
    varied, varied_mask = vary(frame, mask, seed, ALL)
    surround = (varied > 0) & ~varied_mask
    assert np.median(varied[varied_mask]) > np.median(varied[surround])


@settings(max_examples=150, deadline=None)
@given(seed=seeds)
def test_never_upside_down(seed: int) -> None:
    frame = np.linspace(230, 20, SIDE).astype(np.uint8)[:, None].repeat(SIDE, axis=1)
    varied, _ = vary(frame, np.ones_like(frame, np.bool_), seed, ALL)
    content = np.where(varied > 0, varied, np.nan)
    upper, lower = content[: SIDE // 2], content[SIDE // 2 :]
    assert np.nanmean(upper) > np.nanmean(lower)


def test_left_and_right_change_places_about_every_other_time() -> None:
    frame = np.linspace(20, 230, SIDE).astype(np.uint8)[None, :].repeat(SIDE, axis=0)
    kept = [
        varied[:, SIDE // 2 :].mean() > varied[:, : SIDE // 2].mean()
        for varied, _ in (vary(frame, frame > 0, seed, MOVES) for seed in range(100))
    ]
    assert 30 < sum(kept) < 70


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_what_was_black_stays_black(seed: int) -> None:
    frame = np.zeros((SIDE, SIDE), np.uint8)
    frame[20:70, 25:80] = np.random.default_rng(seed).integers(1, 256, (50, 55))
    mask = disc(50, 45, 12)
    # The same draws move both; grey values are varied in one only.
    moved, moved_mask = vary(frame, mask, seed, MOVES)
    varied, varied_mask = vary(frame, mask, seed, ALL)
    assert np.array_equal(varied_mask, moved_mask)
    assert (moved == 0).any()
    assert not varied[moved == 0].any()


def test_nothing_varied_leaves_the_picture_or_its_mirror_image() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)
    mask = disc(20, 60, 15)
    seen = set()
    for seed in range(12):
        varied, varied_mask = vary(frame, mask, seed, STILL)
        mirrored = bool(np.array_equal(varied, frame[:, ::-1]))
        assert mirrored or np.array_equal(varied, frame)
        assert np.array_equal(varied_mask, mask[:, ::-1] if mirrored else mask)
        seen.add(mirrored)
    assert seen == {True, False}


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_types_shapes_and_determinism(seed: int) -> None:
    frame = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE), np.uint8)
    mask = disc(50, 45, 12)
    before = frame.copy(), mask.copy()
    first, second = vary(frame, mask, seed, ALL), vary(frame, mask, seed, ALL)
    assert first[0].dtype == np.uint8
    assert first[1].dtype == np.bool_
    assert first[0].shape == first[1].shape == (SIDE, SIDE)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert np.array_equal(frame, before[0])
    assert np.array_equal(mask, before[1])


def test_seeds_differ() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)
    first, second = (vary(frame, frame > 99, seed, ALL)[0] for seed in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("strength", [4.0, 10.0])
def test_noise_is_as_strong_as_it_says(strength: float) -> None:
    """Uniform strengths up to s, smoothed to 0.64 of it: the mean variance is (0.64 s)^2 / 3."""
    frame = np.full((SIDE, SIDE), 128, np.uint8)
    config = AugmentConfig(**{**vars(STILL), "noise_grey": strength})
    variances = [vary(frame, frame > 0, seed, config)[0].astype(float).var() for seed in range(300)]
    # Rounding to whole grey values adds a twelfth.
    assert np.mean(variances) == pytest.approx((0.64 * strength) ** 2 / 3 + 1 / 12, rel=0.12)


def test_shadows_darken_and_gain_brightens() -> None:
    frame = np.full((SIDE, SIDE), 100, np.uint8)
    shadowed = AugmentConfig(**{**vars(STILL), "shadow_share": 1.0})
    for seed in range(10):
        varied, _ = vary(frame, frame > 0, seed, shadowed)
        assert varied.max() <= 100
        assert 25 <= varied.min() < 75  # 0.3 to 0.7 of it is taken away
    gained = AugmentConfig(**{**vars(STILL), "gain": 1.5})
    means = [vary(frame, frame > 0, seed, gained)[0].mean() for seed in range(50)]
    assert 66 <= min(means) < 80
    assert 125 < max(means) <= 150
