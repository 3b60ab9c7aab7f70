"""Figures of echo, on frames whose grey values are laid out by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from thyroid_pipeline import contract
from thyroid_pipeline.echo import Echo, measure_echo

SIDE = contract.FRAME_SIDE_PX
RADIUS = 40
CENTRE = 200

Frame = NDArray[np.uint8]
Mask = NDArray[np.bool_]

ROWS, COLUMNS = np.indices((SIDE, SIDE))
DISTANCE = np.hypot(ROWS - CENTRE, COLUMNS - CENTRE)
DISC: Mask = DISTANCE <= RADIUS


def tissue(grey: int = 100) -> Frame:
    """A sector with black around it."""
    frame = np.zeros((SIDE, SIDE), np.uint8)
    frame[20:420, 30:400] = grey
    return frame


def with_nodule(inside: int, outside: int = 100) -> Frame:
    frame = tissue(outside)
    frame[DISC] = inside
    return frame


def behind(mask: Mask = DISC) -> Mask:
    """The columns of a nodule, below it."""
    rows, columns = np.nonzero(mask)
    below = np.zeros_like(mask)
    below[rows.max() + 1 : 420, columns.min() : columns.max() + 1] = True
    return below


# --- brightness inside and around


@pytest.mark.parametrize(("inside", "outside"), [(40, 100), (100, 100), (180, 90), (1, 255)])
def test_constant_grey(inside: int, outside: int) -> None:
    echo = measure_echo(with_nodule(inside, outside), DISC)
    assert echo.echo_ratio == pytest.approx(inside / outside)
    assert echo.echo_variation == 0
    assert echo.margin_contrast == pytest.approx(abs(outside - inside) / (outside + inside))
    assert echo.posterior_ratio == pytest.approx(1)


def test_variation_of_two_greys() -> None:
    frame = with_nodule(50)
    frame[DISC & (COLUMNS < CENTRE)] = 150
    left = (DISC & (COLUMNS < CENTRE)).sum() / DISC.sum()
    mean = 150 * left + 50 * (1 - left)
    deviation = 100 * math.sqrt(left * (1 - left))
    assert measure_echo(frame, DISC).echo_variation == pytest.approx(deviation / mean)


def test_a_black_cyst_is_dark_not_unknown() -> None:
    echo = measure_echo(with_nodule(0), DISC)
    assert echo.echo_ratio == 0
    assert echo.margin_contrast == pytest.approx(1)
    assert math.isnan(echo.echo_variation)  # of nothing but black there is no relative spread


def test_the_ring_is_a_quarter_of_the_diameter_wide() -> None:
    near = with_nodule(50)
    near[DISTANCE > RADIUS + 0.25 * 2 * RADIUS + 2] //= 2
    assert measure_echo(near, DISC).echo_ratio == pytest.approx(0.5)
    far = with_nodule(50)
    far[(DISTANCE > RADIUS + 0.2 * 2 * RADIUS) & (far > 0)] = 200
    assert measure_echo(far, DISC).echo_ratio < 0.45


def test_the_margin_is_measured_close_to_the_outline() -> None:
    frame = with_nodule(50)
    frame[DISTANCE < RADIUS - 10] = 255  # a bright core
    frame[(DISTANCE > RADIUS + 10) & (frame > 0)] = 10  # and dark tissue further off
    assert measure_echo(frame, DISC).margin_contrast == pytest.approx(50 / 150)


def test_black_beyond_the_sector_is_no_tissue() -> None:
    frame = np.zeros((SIDE, SIDE), np.uint8)
    frame[CENTRE:420, 30:400] = 100  # the sector begins at the nodule's middle
    half = DISC & (ROWS >= CENTRE)
    frame[half] = 40
    echo = measure_echo(frame, half)
    assert echo.echo_ratio == pytest.approx(0.4)
    assert echo.margin_contrast == pytest.approx(60 / 140)


def test_black_within_the_sector_is_tissue() -> None:
    """Half of the ring lies in a black shadow: it halves the ring's mean."""
    frame = with_nodule(50)
    frame[(COLUMNS < CENTRE) & ~DISC & (COLUMNS > 40) & (ROWS > 40) & (ROWS < 400)] = 0
    ratio = measure_echo(frame, DISC).echo_ratio
    assert ratio == pytest.approx(1.0, rel=0.03)


# --- behind the nodule


@pytest.mark.parametrize(("grey", "ratio"), [(50, 0.5), (0, 0.0), (100, 1.0), (200, 2.0)])
def test_shadow_and_enhancement(grey: int, ratio: float) -> None:
    frame = with_nodule(60)
    frame[behind()] = grey
    assert measure_echo(frame, DISC).posterior_ratio == pytest.approx(ratio)


def test_only_the_central_half_counts_behind() -> None:
    frame = with_nodule(60)
    edges = behind() & (np.abs(COLUMNS - CENTRE) > RADIUS / 2 + 1)
    frame[edges] = 0
    assert measure_echo(frame, DISC).posterior_ratio == pytest.approx(1)


def test_nothing_deeper_than_half_the_nodules_height_counts() -> None:
    frame = with_nodule(60)
    frame[behind() & (ROWS > CENTRE + 2 * RADIUS + 2)] = 7
    assert measure_echo(frame, DISC).posterior_ratio == pytest.approx(1)


def test_a_nodule_on_the_sectors_floor_has_nothing_behind() -> None:
    frame, nodule = tissue(), np.zeros((SIDE, SIDE), np.bool_)
    nodule[360:420, 100:180] = True
    assert math.isnan(measure_echo(frame, nodule).posterior_ratio)
    nodule[360:SIDE, 100:180] = True
    assert math.isnan(measure_echo(frame, nodule).posterior_ratio)


# --- nothing to compare with


def all_nan(echo: Echo) -> bool:
    return all(math.isnan(value) for value in dataclasses.astuple(echo))


def test_no_nodule_and_no_tissue_have_no_figures() -> None:
    assert all_nan(measure_echo(tissue(), np.zeros((SIDE, SIDE), np.bool_)))
    assert all_nan(measure_echo(np.zeros((SIDE, SIDE), np.uint8), DISC))


def test_a_nodule_that_fills_the_sector_has_no_ring() -> None:
    frame = tissue()
    echo = measure_echo(frame, frame > 0)
    assert math.isnan(echo.echo_ratio)
    assert math.isnan(echo.margin_contrast)
    assert math.isnan(echo.posterior_ratio)
    assert echo.echo_variation == 0
    everything = np.full((SIDE, SIDE), 9, np.uint8)
    assert math.isnan(measure_echo(everything, np.ones((SIDE, SIDE), np.bool_)).echo_ratio)


def test_one_pixel() -> None:
    nodule = np.zeros((SIDE, SIDE), np.bool_)
    nodule[200, 200] = True
    frame = tissue()
    frame[200, 200] = 50
    echo = measure_echo(frame, nodule)
    assert echo.echo_ratio == pytest.approx(0.5)
    assert math.isnan(echo.posterior_ratio)  # beside half a pixel there is nothing


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(0, 440), st.integers(0, 440), st.integers(1, 300))
def test_no_frame_and_no_nodule_break_it(seed: int, x: int, y: int, side: int) -> None:
    random = np.random.default_rng(seed)
    frame = random.integers(0, 256, (SIDE, SIDE), np.uint8)
    frame[: random.integers(0, SIDE)] = 0
    nodule = np.zeros((SIDE, SIDE), np.bool_)
    nodule[y : y + side, x : x + random.integers(1, 200)] = True
    for value in dataclasses.astuple(measure_echo(frame, nodule)):
        assert math.isnan(value) or 0 <= value < math.inf


@given(st.integers(2, 5))
def test_gain_changes_no_figure(gain: int) -> None:
    frame = with_nodule(20, 45)
    frame[behind()] = 30
    louder = measure_echo(np.asarray(frame * gain, np.uint8), DISC)
    assert dataclasses.astuple(louder) == pytest.approx(
        dataclasses.astuple(measure_echo(frame, DISC))
    )
