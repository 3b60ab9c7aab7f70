"""From probabilities to nodules: the level, the holes, the small, the many."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from thyroid_pipeline import contract
from thyroid_pipeline.contract import CropperParameters
from thyroid_pipeline.letterbox import Geometry, plan_letterbox, unletterbox
from thyroid_pipeline.nodules import Nodules, find_nodules
from thyroid_pipeline.sector import Sector

SIDE = contract.MAP_SIDE_PX


def geometry_of(height: int, width: int, box: tuple[int, int, int, int] | None = None) -> Geometry:
    x, y, box_width, box_height = box or (0, 0, width, height)
    inside = np.ones((box_height, box_width), np.bool_)
    return plan_letterbox(height, width, Sector(x, y, box_width, box_height, inside))


# One pixel of the map is one pixel of the image: what is drawn is what must come out.
SQUARE = geometry_of(SIDE, SIDE)


def find(
    probability: NDArray[np.uint8],
    geometry: Geometry = SQUARE,
    *,
    threshold: float = 0.5,
    minimum: float = 0.0,
) -> Nodules | None:
    return find_nodules(probability, geometry, CropperParameters(threshold, minimum))


def found(probability: NDArray[np.uint8], geometry: Geometry = SQUARE, **options: float) -> Nodules:
    nodules = find(probability, geometry, **options)
    assert nodules is not None
    return nodules


def drawn(*boxes: tuple[int, int, int, int], value: int = 255) -> NDArray[np.uint8]:
    """A map with rectangles of x, y, width, height."""
    probability = np.zeros((SIDE, SIDE), np.uint8)
    for x, y, width, height in boxes:
        probability[y : y + height, x : x + width] = value
    return probability


# --- threshold


@pytest.mark.parametrize(
    ("threshold", "level"),
    [(0.0, 1), (0.001, 1), (0.2, 51), (0.5, 128), (0.6, 153), (0.999, 255), (1.0, 255)],
)
def test_the_threshold_is_reached_from_the_level_on(threshold: float, level: int) -> None:
    assert find(drawn((50, 60, 40, 30), value=level), threshold=threshold) is not None
    assert find(drawn((50, 60, 40, 30), value=level - 1), threshold=threshold) is None


@given(st.floats(0, 1), st.integers(0, 255))
def test_a_pixel_counts_where_its_probability_reaches_the_threshold(
    threshold: float, value: int
) -> None:
    nodules = find(drawn((50, 60, 40, 30), value=value), threshold=threshold)
    # Nothing is never a nodule, not even at threshold 0.
    assert (nodules is not None) == (value > 0 and value / 255 >= threshold)


def test_nothing_is_no_nodule() -> None:
    assert find(np.zeros((SIDE, SIDE), np.uint8)) is None
    assert find(np.zeros((SIDE, SIDE), np.uint8), threshold=0.0) is None


def test_certainty_everywhere_is_one_nodule_of_the_sectors_size() -> None:
    nodules = found(np.full((SIDE, SIDE), 255, np.uint8), threshold=1.0)
    assert nodules.box == (0, 0, SIDE, SIDE)
    assert nodules.mask.all()
    assert nodules.largest.all()


def test_what_lies_beside_the_content_is_no_nodule() -> None:
    wide = geometry_of(100, 200)
    assert wide.content_y_px > 0
    assert find(drawn((0, 0, SIDE, 20)), wide) is None


# --- holes, size, number


def test_holes_are_filled() -> None:
    ring = drawn((50, 60, 60, 50))
    ring[70:100, 60:100] = 0
    ring[80:90, 70:80] = 255  # an island in the hole is the nodule's, too
    nodules = found(ring)
    assert np.array_equal(nodules.mask, drawn((50, 60, 60, 50)) > 0)
    assert np.array_equal(nodules.largest, nodules.mask)


def test_a_bay_is_no_hole() -> None:
    bay = drawn((50, 60, 60, 50))
    bay[70:80, 90:110] = 0
    assert np.array_equal(found(bay).mask, bay > 0)


def test_the_minimum_is_a_share_of_the_sector() -> None:
    area = 40 * 30
    share = area / SIDE**2
    assert find(drawn((50, 60, 40, 30)), minimum=share) is not None
    assert find(drawn((50, 60, 40, 30)), minimum=share * 1.0001) is None
    # In a wide sector the same share is fewer of the map's pixels.
    half = geometry_of(SIDE // 2, SIDE)
    top = half.content_y_px // 2
    assert find(drawn((50, top + 5, 40, 30)), half, minimum=1.9 * share) is not None


def test_the_filled_area_counts() -> None:
    ring = drawn((50, 60, 40, 30))
    ring[61:89, 51:89] = 0
    assert find(ring, minimum=40 * 30 / SIDE**2) is not None


def test_every_large_region_is_in_the_mask_and_the_largest_is_measured() -> None:
    small, middle, large = (10, 10, 8, 8), (150, 20, 30, 30), (40, 100, 60, 50)
    nodules = found(drawn(small, middle, large), minimum=100 / SIDE**2)
    assert np.array_equal(nodules.mask, drawn(middle, large) > 0)
    assert np.array_equal(nodules.largest, drawn(large) > 0)
    assert nodules.box == large


def test_corners_join() -> None:
    touching = drawn((50, 50, 20, 20), (70, 70, 30, 30))
    nodules = found(touching)
    assert nodules.box == (50, 50, 50, 50)
    assert np.array_equal(nodules.largest, touching > 0)


# --- on the image's own grid


def smooth_map(seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(size=(SIDE, SIDE))
    smooth: NDArray[np.float64] = ndimage.gaussian_filter(noise, 9)
    grey: NDArray[np.float64] = np.clip(128 + 400 * smooth / np.abs(smooth).max() - 60, 0, 255)
    return grey.astype(np.uint8)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(100, 700), st.integers(100, 700))
def test_regions_are_those_scipy_finds(seed: int, height: int, width: int) -> None:
    box = (7, 11, width - 20, height - 30)
    geometry = geometry_of(height, width, box)
    probability = smooth_map(seed)
    minimum = 0.004
    nodules = find(probability, geometry, minimum=minimum)

    wanted = np.zeros((height, width), np.bool_)
    above = unletterbox(probability, geometry) >= 128
    # A hole is dark that is not joined to the border, by sides alone as the light is by corners.
    filled = ndimage.binary_fill_holes(above, structure=ndimage.generate_binary_structure(2, 1))
    labels, count = ndimage.label(filled, structure=np.ones((3, 3)))
    sizes = ndimage.sum_labels(filled, labels, np.arange(1, count + 1))
    kept = [number for number, size in enumerate(sizes, 1) if size >= minimum * above.size]
    wanted[11 : height - 19, 7 : width - 13] = np.isin(labels, kept)
    if nodules is None:
        assert not wanted.any()
        return
    assert np.array_equal(nodules.mask, wanted)
    assert nodules.largest.sum() == sizes.max()
    assert not (nodules.largest & ~nodules.mask).any()
    rows, columns = np.nonzero(nodules.largest)
    x, y = int(columns.min()), int(rows.min())
    assert nodules.box == (x, y, int(columns.max()) - x + 1, int(rows.max()) - y + 1)


def test_an_outline_is_smooth_at_the_images_own_resolution() -> None:
    """A disc on the coarse map has no steps of the map's pixels on an image four times as large."""
    probability = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(probability, (112, 112), 20, (255,), cv2.FILLED)
    probability = cv2.GaussianBlur(probability, (0, 0), 1.5).astype(np.uint8)
    nodules = found(probability, geometry_of(4 * SIDE, 4 * SIDE))
    rows, columns = np.nonzero(nodules.largest)
    radii = np.hypot(rows - rows.mean(), columns - columns.mean())
    area = len(rows)
    assert radii.max() < 1.03 * np.sqrt(area / np.pi)
