"""Letterboxing: the way there, the exact way back, and geometries that are none."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from thyroid_pipeline import contract
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.letterbox import Geometry, letterbox, plan_letterbox, unletterbox
from thyroid_pipeline.sector import Sector

SIDE, MAP_SIDE = contract.FRAME_SIDE_PX, contract.MAP_SIDE_PX
STEP = SIDE // MAP_SIDE


def sector_at(x: int, y: int, width: int, height: int) -> Sector:
    return Sector(x, y, width, height, np.ones((height, width), np.bool_))


def plan(image_height: int, image_width: int, box: tuple[int, int, int, int]) -> Geometry:
    return plan_letterbox(image_height, image_width, sector_at(*box))


@st.composite
def geometries(draw: st.DrawFn, largest: int = 4000, smallest: int = 1) -> Geometry:
    """Any image that the decoder accepts, any box of a sector in it."""
    least = max(contract.MIN_IMAGE_SIDE_PX, smallest)
    height = draw(st.integers(least, largest))
    aspect = int(contract.MAX_IMAGE_ASPECT)
    reach = (max(least, -(-height // aspect)), min(largest, aspect * height))
    width = draw(st.integers(*reach))
    box_height = draw(st.integers(smallest, height))
    box_width = draw(st.integers(smallest, width))
    x, y = draw(st.integers(0, width - box_width)), draw(st.integers(0, height - box_height))
    return plan(height, width, (x, y, box_width, box_height))


@settings(max_examples=300)
@given(geometries(), st.floats(-50, 4100), st.floats(-50, 4100))
def test_there_and_back_is_where_one_was(geometry: Geometry, x: float, y: float) -> None:
    assert geometry.to_image(*geometry.to_frame(x, y)) == pytest.approx((x, y), abs=1e-9)
    assert geometry.to_frame(*geometry.to_image(x, y)) == pytest.approx((x, y), abs=1e-9)


@settings(max_examples=300)
@given(geometries())
def test_the_sectors_corners_are_the_contents(geometry: Geometry) -> None:
    box, content = dataclasses.astuple(geometry)[2:6], dataclasses.astuple(geometry)[6:]
    assert geometry.to_frame(box[0], box[1]) == pytest.approx(content[:2], abs=1e-9)
    far = geometry.to_frame(box[0] + box[2], box[1] + box[3])
    wanted = (content[0] + content[2], content[1] + content[3])
    assert far == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=300)
@given(geometries())
def test_the_content_is_as_large_as_fits_centred_on_the_networks_pixels(geometry: Geometry) -> None:
    x, y, width, height = dataclasses.astuple(geometry)[6:]
    assert max(width, height) == SIDE
    assert min(width, height) >= STEP
    for start, length in ((x, width), (y, height)):
        assert start % STEP == length % STEP == 0
        assert start >= 0
        assert start + length <= SIDE
        assert abs(start - (SIDE - start - length)) <= STEP
    # The aspect is kept but for rounding to the network's pixels.
    box_width, box_height = geometry.sector_width_px, geometry.sector_height_px
    shorter = min(box_width, box_height) * SIDE / max(box_width, box_height)
    assert abs(min(width, height) - shorter) <= max(STEP / 2, STEP - shorter) + 1e-9


@settings(max_examples=200)
@given(geometries())
def test_the_tensor_reads_back_as_it_was(geometry: Geometry) -> None:
    values = geometry.to_array()
    assert values.dtype == contract.GEOMETRY.data_type.numpy
    assert values.shape == contract.GEOMETRY.shape
    assert values.tolist() == [getattr(geometry, name) for name in contract.GEOMETRY_FIELDS]
    assert Geometry.from_array(values) == geometry


GOOD = plan(360, 560, (60, 8, 400, 300))


@pytest.mark.parametrize("field", contract.GEOMETRY_FIELDS)
@pytest.mark.parametrize("value", [-1, -(2**31), 2**31 - 1])
def test_a_field_that_is_off_is_refused(field: str, value: int) -> None:
    values = dataclasses.replace(GOOD, **{field: value}).to_array()
    with pytest.raises(ImageError, match=r"is no geometry of a 448 x 448 frame: .*pass on what"):
        Geometry.from_array(values)


@pytest.mark.parametrize(
    "change",
    [
        {"sector_width_px": 0},
        {"sector_height_px": 0},
        {"content_width_px": 0},
        {"content_height_px": 0},
        {"sector_width_px": 501},
        {"sector_height_px": 353},
        {"sector_x_px": 161},
        {"sector_y_px": 61},
        {"content_width_px": SIDE + STEP},
        {"content_x_px": STEP},
        {"content_y_px": SIDE - GOOD.content_height_px + STEP},
        {"content_height_px": GOOD.content_height_px - 1},
        {"content_y_px": GOOD.content_y_px + 1},
        {"image_width_px": 459},
        {"image_height_px": 307},
        {"image_width_px": 40_000, "image_height_px": 401},
        {"image_width_px": 40_000},
        {"image_height_px": 3_400},
    ],
    ids=str,
)
def test_rectangles_that_do_not_fit_are_refused(change: dict[str, int]) -> None:
    assert Geometry.from_array(GOOD.to_array()) == GOOD
    with pytest.raises(ImageError):
        Geometry.from_array(dataclasses.replace(GOOD, **change).to_array())


@pytest.mark.parametrize("shape", [(0,), (9,), (11,), (10, 1)])
def test_a_tensor_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r"a geometry of shape \(.*\) came, \(10,\) was wanted"):
        Geometry.from_array(np.ones(shape, np.int32))


@settings(max_examples=300)
@given(st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(0, 500), min_size=10, max_size=10))
def test_any_ten_numbers_are_a_usable_geometry_or_refused(values: list[int]) -> None:
    try:
        geometry = Geometry.from_array(np.array(values, np.int32))
    except ImageError:
        return
    probability = np.zeros((MAP_SIDE, MAP_SIDE), np.uint8)
    if geometry.sector_width_px * geometry.sector_height_px < 1_000_000:
        assert unletterbox(probability, geometry).size > 0


# --- pixels


@settings(max_examples=60)
@given(geometries(largest=900, smallest=8), st.integers(1, 255))
def test_the_frame_is_black_but_for_the_content(geometry: Geometry, grey: int) -> None:
    cut = np.full((geometry.sector_height_px, geometry.sector_width_px), grey, np.uint8)
    frame = letterbox(cut, geometry)
    assert frame.shape == contract.FRAME.shape[1:]
    wanted = np.zeros_like(frame)
    rows = slice(geometry.content_y_px, geometry.content_y_px + geometry.content_height_px)
    wanted[rows, geometry.content_x_px :][:, : geometry.content_width_px] = grey
    assert np.array_equal(frame, wanted)


@pytest.mark.parametrize("size", [(300, 400), (700, 900), (448, 448), (1000, 300)])
def test_the_frame_shows_what_resampling_by_scipy_shows(size: tuple[int, int]) -> None:
    height, width = size
    noise = np.random.default_rng(40).uniform(0, 255, size)
    cut = np.clip(ndimage.gaussian_filter(noise, 6) * 6 - 600, 0, 255).astype(np.uint8)
    geometry = plan(height + 20, width + 30, (10, 5, width, height))
    frame = letterbox(cut, geometry)
    rows, columns = np.indices(frame.shape) + 0.5
    x, y = geometry.to_image(columns, rows)
    wanted = ndimage.map_coordinates(
        cut.astype(np.float64), [y - 5 - 0.5, x - 10 - 0.5], order=1, mode="nearest"
    )
    content = np.s_[
        geometry.content_y_px : geometry.content_y_px + geometry.content_height_px,
        geometry.content_x_px : geometry.content_x_px + geometry.content_width_px,
    ]
    difference = np.abs(frame[content] - wanted[content])
    assert difference.max() < 12
    assert difference.mean() < 1


def test_shrinking_averages_fine_speckle() -> None:
    cut = np.random.default_rng(41).integers(0, 256, (SIDE * 3, SIDE * 3), np.uint8)
    frame = letterbox(cut, plan(SIDE * 3, SIDE * 3, (0, 0, SIDE * 3, SIDE * 3)))
    wanted = cut.reshape(SIDE, 3, SIDE, 3).mean(axis=(1, 3))
    assert np.abs(frame - wanted).max() <= 0.51


def disc(height: int, width: int, x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.indices((height, width)) + 0.5
    inside: NDArray[np.bool_] = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
    return inside


@settings(max_examples=60)
@given(
    geometries(largest=900, smallest=200),
    st.floats(0.12, 0.3),
    st.floats(0.35, 0.65),
    st.floats(0.35, 0.65),
)
def test_a_disc_comes_back_where_it_was(
    geometry: Geometry, share: float, across: float, down: float
) -> None:
    width, height = geometry.sector_width_px, geometry.sector_height_px
    # At least eight of the network's pixels in radius.
    least = 8 * STEP / min(geometry.scale_x, geometry.scale_y)
    radius = max(share * min(width, height), least)
    mask = disc(height, width, across * width, down * height, radius)
    frame = letterbox(np.where(mask, np.uint8(255), np.uint8(0)), geometry)
    pooled = frame.reshape(MAP_SIDE, STEP, MAP_SIDE, STEP).mean(axis=(1, 3))
    back = unletterbox(np.rint(pooled).astype(np.uint8), geometry) >= 128
    assert back.shape == mask.shape
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) >= 0.97


def test_what_the_network_says_outside_the_content_is_dropped() -> None:
    geometry = plan(300, 600, (0, 0, 600, 300))
    probability = np.full((MAP_SIDE, MAP_SIDE), 255, np.uint8)
    top = geometry.content_y_px // STEP
    probability[top : top + geometry.content_height_px // STEP] = 0
    assert not unletterbox(probability, geometry).any()


def test_the_content_of_two_views_wide_is_not_squeezed() -> None:
    geometry = plan(360, 560, (20, 10, 520, 260))
    assert geometry.content_width_px == SIDE
    assert geometry.content_height_px == SIDE // 2
    assert cv2.countNonZero(letterbox(np.full((260, 520), 9, np.uint8), geometry)) == SIDE**2 // 2
