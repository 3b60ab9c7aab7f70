"""Overlays: lines where the nodule's edge is, seen on any grey, colours where the evidence is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from thyroid_client import Box
from thyroid_client.overlay import (
    BENIGN_RGB,
    MALIGNANT_RGB,
    OUTLINE_RGB,
    evidence_picture,
    outline_picture,
)
from thyroid_pipeline import contract
from thyroid_pipeline.roi_square import roi_square

WARM_LESS_BLUE = MALIGNANT_RGB[0] - MALIGNANT_RGB[2]
assert WARM_LESS_BLUE > 0 > BENIGN_RGB[0] - BENIGN_RGB[2]


Array: TypeAlias = "np.ndarray[Any, Any]"


def is_changed(picture: Image.Image, grey: Array) -> Array:
    changed: Array = (np.asarray(picture) != grey[..., None]).any(axis=2)
    return changed


def luma(pixels: Array) -> Array:
    grey: Array = pixels.astype(float) @ np.array([0.299, 0.587, 0.114])
    return grey


def distance_from_edge(mask: Array) -> Array:
    """Chebyshev distance of each pixel from the mask's border pixels, by brute force."""
    padded = np.pad(mask, 1)
    inner = np.ones_like(mask)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            inner &= padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx]
    rows, columns = np.nonzero(mask & ~inner)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    nearest: Array = np.min(
        [np.maximum(abs(y - row), abs(x - col)) for row, col in zip(rows, columns, strict=True)],
        axis=0,
    )
    return nearest


@pytest.mark.parametrize("value", [0, 90, 128, 255])
def test_the_outline_is_on_the_edge_and_nowhere_else(value: int) -> None:
    y, x = np.mgrid[:120, :160]
    mask = ((y - 60) / 30) ** 2 + ((x - 80) / 45) ** 2 < 1
    grey = np.full(mask.shape, value, np.uint8)
    picture = outline_picture(grey, mask, None)
    pixels = np.asarray(picture)
    distance = distance_from_edge(mask)
    assert (pixels[distance == 0] == OUTLINE_RGB).all()
    assert not is_changed(picture, grey)[distance > 2].any()
    halo = pixels[distance == 1]
    assert (luma(pixels[distance == 0]).min() - luma(halo).max()) > 128  # seen on any grey


def test_a_large_picture_has_a_wider_line() -> None:
    widths = []
    for scale in (1, 8):
        mask = np.zeros((200 * scale, 200 * scale), bool)
        mask[50 * scale : 150 * scale, 50 * scale : 150 * scale] = True
        pixels = np.asarray(outline_picture(np.zeros(mask.shape, np.uint8), mask, None))
        middle = (pixels[100 * scale] == OUTLINE_RGB).all(axis=1)
        widths.append(middle.sum() / 2)
    assert widths[1] > widths[0] >= 1


def test_corners_frame_the_nodule_without_touching_its_inside(fake: SimpleNamespace) -> None:
    grey = np.full((fake.HEIGHT, fake.WIDTH), 128, np.uint8)
    mask = fake.box_mask()
    box = Box(*fake.BOX)
    with_corners = np.asarray(outline_picture(grey, mask, box))
    without = np.asarray(outline_picture(grey, mask, None))
    drawn = (with_corners != without).any(axis=2)
    assert not drawn[mask].any()
    rows, columns = np.nonzero(drawn)
    assert columns.min() < box.x_px
    assert columns.max() >= box.x_px + box.width_px
    assert rows.min() < box.y_px
    assert rows.max() >= box.y_px + box.height_px
    middle = slice(box.x_px + 15, box.x_px + 25)
    assert not drawn[: box.y_px, middle].any()  # corners only: edges are left open


def test_without_a_nodule_the_picture_is_the_image(fake: SimpleNamespace) -> None:
    grey = fake.grey_image()
    picture = outline_picture(grey, np.zeros(grey.shape, bool), None)
    assert not is_changed(picture, grey).any()
    assert picture.mode == "RGB"


def test_every_nodule_is_outlined() -> None:
    mask = np.zeros((100, 200), bool)
    mask[40:60, 20:50] = mask[30:70, 120:170] = True
    changed = is_changed(
        outline_picture(np.full(mask.shape, 7, np.uint8), mask, None), mask * 0 + 7
    )
    assert changed[:, :100].any()
    assert changed[:, 100:].any()


def test_colours_lie_where_the_evidence_is() -> None:
    """Malignant in the upper left of the square, benign in the lower right, nothing between."""
    grey = np.full((300, 400), 120, np.uint8)
    box = Box(150, 100, 100, 60)
    mask = np.zeros(grey.shape, bool)
    mask[125:135, 190:210] = True  # no line of it through what is looked at
    evidence = np.zeros(contract.EVIDENCE.shape, np.float32)
    evidence[1, 1], evidence[-2, -2] = 4, -4
    pixels = np.asarray(evidence_picture(grey, mask, box, evidence, margin_share=0.2)).astype(int)
    left, top, side = roi_square(box.as_tuple(), 0.2)

    def warmth(cell_row: int, cell_column: int) -> int:
        y = int(top + (cell_row + 0.5) * side / len(evidence))
        x = int(left + (cell_column + 0.5) * side / len(evidence))
        return int(pixels[y, x, 0] - pixels[y, x, 2])

    far = len(evidence) - 2
    assert warmth(1, 1) > 40
    assert warmth(far, far) < -40
    assert abs(warmth(1, far)) < 8
    assert abs(warmth(far, 1)) < 8
    outside = np.ones(grey.shape, bool)
    frame = 2  # the line around the square
    outside[
        int(top) - frame : int(top + side) + 1 + frame,
        int(left) - frame : int(left + side) + 1 + frame,
    ] = False
    assert (pixels[outside] == 120).all()


def test_weak_evidence_is_not_stretched_to_full_colour() -> None:
    grey = np.full((200, 200), 120, np.uint8)
    mask = np.zeros(grey.shape, bool)
    mask[80:120, 80:120] = True
    box = Box(80, 80, 40, 40)

    def colour(logits: float) -> float:
        evidence = np.full(contract.EVIDENCE.shape, logits, np.float32)
        pixels = np.asarray(evidence_picture(grey, mask, box, evidence)).astype(int)
        return float(pixels[100, 100, 0] - pixels[100, 100, 2])

    assert colour(3.0) == colour(1.0) > 80
    assert 0 < colour(0.1) < colour(1.0) / 5


@given(
    x=st.integers(0, 99),
    y=st.integers(0, 69),
    width=st.integers(1, 100),
    height=st.integers(1, 70),
    margin=st.floats(0, 2),
)
def test_any_box_of_the_image_can_be_drawn(
    x: int, y: int, *, width: int, height: int, margin: float
) -> None:
    """Squares that reach beyond the image, boxes of a pixel, boxes along the border."""
    box = Box(x, y, min(width, 100 - x), min(height, 70 - y))
    mask = np.zeros((70, 100), bool)
    mask[y : y + box.height_px, x : x + box.width_px] = True
    grey = np.full(mask.shape, 50, np.uint8)
    evidence = np.linspace(-1, 1, 25, dtype=np.float32).reshape(contract.EVIDENCE.shape)
    for picture in (
        outline_picture(grey, mask, box),
        evidence_picture(grey, mask, box, evidence, margin),
    ):
        assert picture.size == (100, 70)
        assert (np.asarray(picture) == OUTLINE_RGB).all(axis=2).any()


def test_another_image_than_the_screened_one_is_refused(fake: SimpleNamespace) -> None:
    grey, mask = fake.grey_image(height=90), fake.box_mask()
    box = Box(*fake.BOX)
    with pytest.raises(ValueError, match="the image is 120 x 90 pixels and the mask 120 x 80"):
        outline_picture(grey, mask, box)
    with pytest.raises(ValueError, match="the very image that was screened"):
        evidence_picture(grey, mask, box, fake.EVIDENCE)
