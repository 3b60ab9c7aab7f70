"""What is drawn around the tissue stays around it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from thyroid_training.phantoms import Phantom, make_phantom


def tissue_of(phantom: Phantom) -> NDArray[np.uint8]:
    x, y, width, height = phantom.sector_box
    return phantom.image[y : y + height, x : x + width]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("height_px", "width_px"), [(360, 560), (900, 420), (200, 240)])
def test_console_and_text_touch_no_tissue(seed: int, height_px: int, width_px: int) -> None:
    bare = make_phantom(seed, height_px=height_px, width_px=width_px, console=False)
    words = "TIRADS 4B (4C) " * 4
    full = make_phantom(seed, height_px=height_px, width_px=width_px, text=words)
    assert full.sector_box == bare.sector_box
    assert np.array_equal(tissue_of(full), tissue_of(bare))
    assert np.array_equal(full.mask, bare.mask)


def test_without_console_and_text_nothing_lies_outside_the_sector() -> None:
    phantom = make_phantom(5, console=False)
    tissue_of(phantom)[...] = 0
    assert not phantom.image.any()


@pytest.mark.parametrize(("height_px", "width_px"), [(360, 560), (1200, 900), (200, 200)])
def test_text_is_written_below_the_sector(height_px: int, width_px: int) -> None:
    without = make_phantom(2, height_px=height_px, width_px=width_px)
    with_text = make_phantom(2, height_px=height_px, width_px=width_px, text="TIRADS 4B")
    rows, columns = np.nonzero(with_text.image != without.image)
    _, y, _, height = without.sector_box
    assert rows.size > 20
    assert rows.min() >= y + height
    assert columns.min() > 0
    assert columns.max() < width_px - 1
