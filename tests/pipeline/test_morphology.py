"""Figures of shape, against scikit-image, on masks of every kind, scaled and turned."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage import measure, morphology

from outlines import ANGLES, Mask, blob, polar
from thyroid_pipeline.morphology import Shape, measure_shape

LENGTHS = (
    "perimeter_px",
    "width_px",
    "height_px",
    "equivalent_diameter_px",
    "major_axis_px",
    "minor_axis_px",
)
RATIOS = (
    "height_to_width",
    "circularity",
    "convexity",
    "solidity",
    "extent",
    "margin_irregularity",
)


def finite(shape: Shape) -> bool:
    return all(math.isfinite(value) for value in dataclasses.astuple(shape))


# --- against scikit-image, which has no types


def by_scikit_image(mask: Mask) -> Any:
    return measure.regionprops(mask.astype(np.uint8))[0]  # type: ignore[no-untyped-call]


def convex_hull(mask: Mask) -> Any:
    return morphology.convex_hull_image(  # type: ignore[no-untyped-call]
        mask, offset_coordinates=False
    )


@settings(max_examples=80)
@given(st.integers(0, 2**32 - 1))
def test_figures_are_those_of_scikit_image(seed: int) -> None:
    mask = blob(seed)
    shape, wanted = measure_shape(mask), by_scikit_image(mask)
    top, left, bottom, right = wanted.bbox
    assert shape.area_px2 == wanted.area
    assert (shape.height_px, shape.width_px) == (bottom - top, right - left)
    assert shape.equivalent_diameter_px == pytest.approx(wanted.equivalent_diameter_area)
    assert shape.extent == pytest.approx(wanted.extent)
    # scikit-image takes pixels for points; ours have the 1/12 of a square's own moment.
    points = (wanted.axis_major_length, wanted.axis_minor_length)
    axes = [math.sqrt(axis**2 + 16 / 12) for axis in points]
    assert [shape.major_axis_px, shape.minor_axis_px] == pytest.approx(axes)
    assert shape.eccentricity == pytest.approx(math.sqrt(1 - (axes[1] / axes[0]) ** 2))
    assert shape.eccentricity == pytest.approx(wanted.eccentricity, abs=0.01)
    hull = convex_hull(mask)
    assert shape.solidity == pytest.approx(mask.sum() / hull.sum(), rel=0.004)
    # Its default hull runs half a pixel further out.
    assert 0 <= shape.solidity - wanted.solidity < 0.4 * shape.perimeter_px / shape.area_px2
    # Crofton's perimeter is another estimator of the same length.
    assert shape.perimeter_px == pytest.approx(wanted.perimeter_crofton, rel=0.06)


def exactly_within_hull(mask: Mask) -> int:
    """Pixels whose centres lie in or on the hull of the pixels' centres, one by one."""
    points = np.argwhere(mask)[:, ::-1].astype(np.int32)
    hull = cv2.convexHull(points)
    return sum(
        cv2.pointPolygonTest(hull, (float(x), float(y)), measureDist=False) >= 0
        for y, x in np.ndindex(mask.shape)
    )


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_solidity_counts_the_pixels_within_the_hull(seed: int) -> None:
    mask = blob(seed, size=40)
    assert measure_shape(mask).solidity == pytest.approx(mask.sum() / exactly_within_hull(mask))


# --- no mask breaks it


@st.composite
def connected_masks(draw: st.DrawFn) -> Mask:
    """Any 8-connected region without holes, single pixels and lines among them."""
    seeds = draw(arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
    filled = ndimage.binary_fill_holes(seeds)
    labels, count = ndimage.label(filled, structure=np.ones((3, 3)))
    if count == 0:
        labels, count = np.ones_like(seeds, dtype=int), 1
    return np.asarray(labels == draw(st.integers(1, count)))


@settings(max_examples=400)
@given(connected_masks())
def test_every_figure_is_finite_and_in_its_range(mask: Mask) -> None:
    shape = measure_shape(mask)
    assert finite(shape)
    assert min(dataclasses.astuple(shape)) >= 0
    assert shape.area_px2 == mask.sum()
    for name in ("convexity", "solidity", "extent"):
        assert 0 < getattr(shape, name) <= 1
    assert 0 <= shape.eccentricity < 1
    assert shape.minor_axis_px <= shape.major_axis_px
    assert shape.perimeter_px > 0


@pytest.mark.parametrize(
    "mask",
    [
        np.ones((1, 1), np.bool_),
        np.ones((1, 2), np.bool_),
        np.ones((2, 1), np.bool_),
        np.ones((1, 300), np.bool_),
        np.ones((300, 1), np.bool_),
        np.eye(40, dtype=np.bool_),
        np.eye(40, dtype=np.bool_)[::-1],
        np.ones((2, 2), np.bool_),
    ],
    ids=["pixel", "pair", "tall pair", "line", "tall line", "diagonal", "other diagonal", "four"],
)
def test_the_smallest_and_the_thinnest(mask: Mask) -> None:
    shape = measure_shape(mask)
    assert finite(shape)
    assert shape.solidity == pytest.approx(1)
    assert shape.convexity == pytest.approx(1, abs=0.03)


def test_one_pixel_in_figures() -> None:
    shape = measure_shape(np.ones((1, 1), np.bool_))
    assert (shape.area_px2, shape.width_px, shape.height_px) == (1, 1, 1)
    assert shape.perimeter_px == pytest.approx(math.pi)
    assert shape.major_axis_px == pytest.approx(4 / math.sqrt(12))
    assert (shape.eccentricity, shape.extent, shape.height_to_width) == (0, 1, 1)


def test_no_pixel_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"a mask of shape \(7, 9\) without a pixel was given; one nodule was wanted: measure "
        "only where a nodule was found",
    ):
        measure_shape(np.zeros((7, 9), np.bool_))


def test_where_the_nodule_lies_does_not_matter() -> None:
    mask = blob(3)
    assert measure_shape(np.pad(mask, ((5, 0), (0, 31)))) == measure_shape(np.pad(mask, 1))


# --- scale, turns, mirrors


@settings(max_examples=40)
@given(
    st.lists(st.floats(-0.06, 0.06), min_size=5, max_size=5),
    st.floats(1, 2),
    st.floats(0, 180),
    st.sampled_from([2, 3]),
)
def test_lengths_grow_with_the_scale_and_ratios_stay(
    waves: list[float], aspect: float, angle_deg: float, factor: int
) -> None:
    radius = 30 * (1 + sum(depth * np.cos(k * ANGLES) for k, depth in enumerate(waves, 2)))
    small = measure_shape(polar(radius, angle_deg, aspect))
    large = measure_shape(polar(factor * radius, angle_deg, aspect))
    assert large.area_px2 == pytest.approx(factor**2 * small.area_px2, rel=0.01)
    for name in LENGTHS:
        assert getattr(large, name) == pytest.approx(factor * getattr(small, name), rel=0.03)
    for name in RATIOS:
        assert getattr(large, name) == pytest.approx(getattr(small, name), rel=0.06, abs=0.015)
    # Not itself: its root is steep near 0.
    assert large.eccentricity**2 == pytest.approx(small.eccentricity**2, rel=0.06, abs=0.015)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_a_quarter_turn_swaps_width_and_height_and_a_mirror_changes_nothing(seed: int) -> None:
    mask = blob(seed)
    shape = measure_shape(mask)
    for other in (mask[:, ::-1], mask[::-1], mask[::-1, ::-1]):
        assert dataclasses.astuple(measure_shape(np.ascontiguousarray(other))) == pytest.approx(
            dataclasses.astuple(shape)
        )
    turned = measure_shape(np.ascontiguousarray(np.rot90(mask)))
    swapped = dataclasses.replace(
        turned,
        width_px=turned.height_px,
        height_px=turned.width_px,
        height_to_width=1 / turned.height_to_width,
    )
    assert dataclasses.astuple(swapped) == pytest.approx(dataclasses.astuple(shape))
