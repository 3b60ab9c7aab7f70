"""The region of interest: where it lies, and that it is never distorted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from thyroid_pipeline import contract
from thyroid_pipeline.letterbox import Geometry, letterbox, plan_letterbox
from thyroid_pipeline.roi import cut_roi
from thyroid_pipeline.roi_square import roi_square
from thyroid_pipeline.sector import Sector

SIDE, ROI_SIDE = contract.FRAME_SIDE_PX, contract.ROI_SIDE_PX

Box = tuple[int, int, int, int]
boxes = st.tuples(
    st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 4000), st.integers(1, 4000)
)


def geometry_of(height: int, width: int, box: Box | None = None) -> Geometry:
    x, y, box_width, box_height = box or (0, 0, width, height)
    inside = np.ones((box_height, box_width), np.bool_)
    return plan_letterbox(height, width, Sector(x, y, box_width, box_height, inside))


# --- the square


def test_the_square_in_figures() -> None:
    # 40 wide, 20 high: side 40 * (1 + 2 * 0.25) = 60, centred on (120, 210).
    assert roi_square((100, 200, 40, 20), 0.25) == (90.0, 180.0, 60.0)
    assert roi_square((100, 200, 20, 40), 0.25) == (80.0, 190.0, 60.0)
    assert roi_square((0, 0, 10, 10), 0.2) == (-2.0, -2.0, 14.0)
    assert roi_square((3, 4, 10, 10), 0.0) == (3.0, 4.0, 10.0)


@given(boxes, st.floats(0, 1))
def test_the_square_is_centred_on_the_box_and_holds_it_with_its_margin(
    box: Box, margin: float
) -> None:
    x, y, side = roi_square(box, margin)
    assert x + side / 2 == pytest.approx(box[0] + box[2] / 2, abs=1e-6)
    assert y + side / 2 == pytest.approx(box[1] + box[3] / 2, abs=1e-6)
    longer = max(box[2:])
    assert side == pytest.approx(longer + 2 * margin * longer)
    assert x <= box[0] + 1e-6
    assert y <= box[1] + 1e-6


# --- the pixels


def smooth_frame(seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(size=(SIDE, SIDE))
    smooth: NDArray[np.float64] = ndimage.gaussian_filter(noise, 5)
    grey: NDArray[np.float64] = np.clip(128 + 100 * smooth / np.abs(smooth).max(), 0, 255)
    return grey.astype(np.uint8)


@st.composite
def places(draw: st.DrawFn) -> tuple[Geometry, Box]:
    """Any image's geometry, and a box anywhere in the image."""
    height, width = draw(st.integers(150, 1200)), draw(st.integers(150, 1200))
    box_height, box_width = draw(st.integers(4, height - 2)), draw(st.integers(4, width - 2))
    x, y = draw(st.integers(0, width - box_width)), draw(st.integers(0, height - box_height))
    sector = (width // 10, height // 12, width - width // 5, height - height // 6)
    return geometry_of(height, width, sector), (x, y, box_width, box_height)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), places(), st.floats(0, 0.5))
def test_pixels_are_those_of_resampling_by_scipy(
    seed: int, place: tuple[Geometry, Box], margin: float
) -> None:
    geometry, box = place
    frame = smooth_frame(seed)
    roi = cut_roi(frame, box, geometry, margin)
    assert roi.shape == (ROI_SIDE, ROI_SIDE)
    assert roi.dtype == np.uint8

    x, y, side = roi_square(box, margin)
    centres = (np.arange(ROI_SIDE) + 0.5) * side / ROI_SIDE
    frame_x, frame_y = geometry.to_frame(x + centres, y + centres)  # type: ignore[arg-type]
    rows, columns = np.meshgrid(frame_y, frame_x, indexing="ij")
    # Pixel i has its centre at i + 0.5; beyond the frame all is black.
    wanted = ndimage.map_coordinates(
        np.pad(frame, 1).astype(np.float64), [rows + 0.5, columns + 0.5], order=1, mode="nearest"
    )
    difference = np.abs(roi - wanted)
    within = (rows > 1) & (rows < SIDE - 1) & (columns > 1) & (columns < SIDE - 1)
    assert difference[within].max(initial=0) <= 2
    beyond = (rows < -1) | (rows > SIDE + 1) | (columns < -1) | (columns > SIDE + 1)
    assert not roi[beyond].any()


@pytest.mark.parametrize("size", [(360, 560), (900, 500), (1000, 1400), (200, 200)])
@pytest.mark.parametrize("where", [(0.5, 0.5), (0.2, 0.3), (0.75, 0.7)])
def test_a_disc_in_the_image_is_a_disc_in_the_middle_of_the_region(
    size: tuple[int, int], where: tuple[float, float]
) -> None:
    height, width = size
    radius = 0.15 * min(size)
    centre_x, centre_y = round(where[0] * width), round(where[1] * height)
    rows, columns = np.indices(size) + 0.5
    inside = (columns - centre_x) ** 2 + (rows - centre_y) ** 2 < radius**2
    image = np.where(inside, 255, 0).astype(np.uint8)
    geometry = geometry_of(height, width)
    ys, xs = np.nonzero(inside)
    box = (
        int(xs.min()),
        int(ys.min()),
        int(xs.max() - xs.min()) + 1,
        int(ys.max() - ys.min()) + 1,
    )

    roi = cut_roi(letterbox(image, geometry), box, geometry, 0.25)
    disc = measure.regionprops((roi >= 128).astype(np.uint8))[0]  # type: ignore[no-untyped-call]
    assert disc.axis_minor_length / disc.axis_major_length > 0.98
    middle = ROI_SIDE / 2 - 0.5
    assert disc.centroid == pytest.approx((middle, middle), abs=2)
    # A margin of a quarter on each side: the disc is two thirds of the square.
    assert disc.equivalent_diameter_area == pytest.approx(ROI_SIDE / 1.5, rel=0.03)


def test_a_flat_nodule_is_not_made_round() -> None:
    image = np.zeros((400, 600), np.uint8)
    image[180:220, 200:360] = 255
    geometry = geometry_of(400, 600)
    roi = cut_roi(letterbox(image, geometry), (200, 180, 160, 40), geometry, 0.0)
    rows, columns = np.nonzero(roi >= 128)
    assert columns.max() - columns.min() + 1 == pytest.approx(ROI_SIDE, abs=1)
    assert rows.max() - rows.min() + 1 == pytest.approx(ROI_SIDE / 4, abs=2)


def test_what_lies_beyond_the_frame_is_black() -> None:
    geometry = geometry_of(SIDE, SIDE)
    frame = np.full((SIDE, SIDE), 200, np.uint8)
    roi = cut_roi(frame, (0, 0, 100, 100), geometry, 0.5)
    # The square begins 50 px above and left of the frame, a quarter of its side of 200 px.
    quarter = ROI_SIDE // 4
    assert not roi[: quarter - 1].any()
    assert not roi[:, : quarter - 1].any()
    assert (roi[quarter + 1 :, quarter + 1 :] == 200).all()


def test_a_nodule_of_one_pixel_has_a_region() -> None:
    geometry = geometry_of(300, 300)
    frame = np.full((SIDE, SIDE), 77, np.uint8)
    assert (cut_roi(frame, (150, 150, 1, 1), geometry, 0.2) == 77).all()
