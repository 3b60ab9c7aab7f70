"""Figures of shape, against the closed formulas of discs, ellipses, rectangles and waves."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import special

from outlines import ANGLES, polar
from thyroid_pipeline.morphology import measure_shape


def ellipse_perimeter(semi_major: float, semi_minor: float) -> float:
    return float(4 * semi_major * special.ellipe(1 - (semi_minor / semi_major) ** 2))


# --- perimeter and what is made of it


@pytest.mark.parametrize("radius", [8, 12, 20, 40, 90])
def test_a_disc(radius: float) -> None:
    shape = measure_shape(polar(float(radius)))
    tolerance = 0.015 if radius >= 12 else 0.03
    assert shape.perimeter_px == pytest.approx(2 * math.pi * radius, rel=tolerance)
    assert shape.area_px2 == pytest.approx(math.pi * radius**2, rel=tolerance)
    assert shape.circularity == pytest.approx(1, abs=2 * tolerance)
    assert shape.convexity == pytest.approx(1, abs=0.03)
    assert shape.solidity == pytest.approx(1, abs=0.01)
    assert shape.extent == pytest.approx(math.pi / 4, abs=0.02)
    assert shape.minor_axis_px / shape.major_axis_px > 1 - 0.2 / radius
    assert shape.margin_irregularity < 0.6 / radius
    for name in ("width_px", "height_px", "major_axis_px", "minor_axis_px"):
        assert getattr(shape, name) == pytest.approx(2 * radius, abs=1)


@pytest.mark.parametrize("aspect", [1.3, 2.0, 3.5])
@pytest.mark.parametrize("angle_deg", [0, 10, 22.5, 30, 45, 60, 77, 90, 135])
def test_an_ellipse_however_it_lies(aspect: float, angle_deg: float) -> None:
    semi_minor = 18.0
    semi_major = aspect * semi_minor
    shape = measure_shape(polar(semi_minor, angle_deg, aspect))
    length = ellipse_perimeter(semi_major, semi_minor)
    assert shape.perimeter_px == pytest.approx(length, rel=0.02)
    assert shape.area_px2 == pytest.approx(math.pi * semi_major * semi_minor, rel=0.01)
    assert shape.major_axis_px == pytest.approx(2 * semi_major, rel=0.01)
    assert shape.minor_axis_px == pytest.approx(2 * semi_minor, rel=0.015)
    assert shape.eccentricity == pytest.approx(math.sqrt(1 - aspect**-2), abs=0.01)
    circularity = 4 * math.pi * math.pi * semi_major * semi_minor / length**2
    assert shape.circularity == pytest.approx(circularity, rel=0.04)
    assert shape.solidity > 0.985
    assert shape.margin_irregularity < 0.025
    # The box of a turned ellipse, half its sides.
    turn = math.radians(angle_deg)
    half_width = math.hypot(semi_major * math.cos(turn), semi_minor * math.sin(turn))
    half_height = math.hypot(semi_major * math.sin(turn), semi_minor * math.cos(turn))
    assert shape.height_to_width == pytest.approx(half_height / half_width, rel=0.04)
    wanted_extent = math.pi * semi_major * semi_minor / (4 * half_width * half_height)
    assert shape.extent == pytest.approx(wanted_extent, rel=0.04)


def test_ellipses_at_all_angles_have_the_right_length_on_average() -> None:
    lengths = [measure_shape(polar(20.0, angle, 2.0)).perimeter_px for angle in range(0, 180, 9)]
    assert np.mean(lengths) == pytest.approx(ellipse_perimeter(40, 20), rel=0.01)


@pytest.mark.parametrize(("width", "height"), [(40, 40), (60, 25), (31, 90)])
def test_a_rectangle(width: int, height: int) -> None:
    shape = measure_shape(np.ones((height, width), np.bool_))
    # The estimator is made for smooth outlines: straight runs along the grid come 2% short.
    assert shape.perimeter_px == pytest.approx(2 * (width + height), rel=0.04)
    assert (shape.extent, shape.solidity) == (1, 1)
    assert shape.height_to_width == height / width
    # Second moment of a uniform bar: side^2 / 12, so the axis is 4 side / sqrt(12).
    longer, shorter = max(width, height), min(width, height)
    assert shape.major_axis_px == pytest.approx(4 * longer / math.sqrt(12))
    assert shape.minor_axis_px == pytest.approx(4 * shorter / math.sqrt(12))
    assert shape.eccentricity == pytest.approx(math.sqrt(1 - (shorter / longer) ** 2))


def test_the_estimator_in_figures() -> None:
    # A 5 x 4 block: a chain of 14 straight steps with 4 corners.
    block = measure_shape(np.ones((4, 5), np.bool_))
    assert block.perimeter_px == pytest.approx(0.980 * 14 - 0.091 * 4 + math.pi)
    # A diamond of radius 3: 12 diagonal steps, 4 corners.
    rows, columns = np.indices((7, 7)) - 3
    diamond = measure_shape(np.abs(rows) + np.abs(columns) <= 3)
    assert diamond.perimeter_px == pytest.approx(1.406 * 12 - 0.091 * 4 + math.pi)


def test_a_taller_nodule_is_taller() -> None:
    assert measure_shape(polar(20.0, 90, 1.5)).height_to_width == pytest.approx(1.5, rel=0.03)
    assert measure_shape(polar(20.0, 0, 1.5)).height_to_width == pytest.approx(1 / 1.5, rel=0.03)


# --- margins


@pytest.mark.parametrize("lobes", [4, 5, 6, 8])
@pytest.mark.parametrize("depth", [0.04, 0.08, 0.12])
def test_a_wavy_margin_has_the_irregularity_of_its_formula(lobes: int, depth: float) -> None:
    """r = r0 (1 + a cos k angle): the root mean square of a cosine is a / sqrt(2).

    To the first order in a: the points of the outline are evenly spaced on it, not by angle, and
    the ellipse of the same moments grows with a^2.
    """
    shape = measure_shape(polar(70.0 * (1 + depth * np.cos(lobes * ANGLES))))
    assert shape.margin_irregularity == pytest.approx(depth / math.sqrt(2), rel=0.12)


def test_a_more_irregular_margin_has_the_larger_figures() -> None:
    shapes = [
        measure_shape(polar(40.0 * (1 + depth * np.cos(9 * ANGLES))))
        for depth in (0.0, 0.05, 0.1, 0.2, 0.3)
    ]
    for milder, worse in pairwise(shapes):
        assert worse.margin_irregularity > milder.margin_irregularity
        assert worse.circularity < milder.circularity
        assert worse.convexity < milder.convexity
        assert worse.solidity < milder.solidity


def test_a_bite_lowers_solidity_by_its_area() -> None:
    mask = np.ones((60, 60), np.bool_)
    mask[20:40, 30:] = False
    assert measure_shape(mask).solidity == pytest.approx(1 - 20 * 30 / 3600)
