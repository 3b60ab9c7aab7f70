"""Agreement of masks in closed cases and against scikit-learn and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist
from sklearn.metrics import f1_score, jaccard_score

from thyroid_training.mask_agreement import dice, hausdorff95_px, iou, outline

Mask = NDArray[np.bool_]

EMPTY = np.zeros((4, 6), np.bool_)
LEFT, RIGHT, UPPER = EMPTY.copy(), EMPTY.copy(), EMPTY.copy()
LEFT[:, :3] = RIGHT[:, 3:] = UPPER[:2] = True


def disc(x: int, y: int, radius: int) -> Mask:
    rows, columns = np.ogrid[:100, :160]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


@pytest.mark.parametrize(
    ("predicted", "truth", "wanted_dice", "wanted_iou"),
    [
        (LEFT, LEFT, 1.0, 1.0),
        (LEFT, RIGHT, 0.0, 0.0),
        (LEFT, UPPER, 0.5, 1 / 3),
        (LEFT | RIGHT, LEFT, 2 / 3, 0.5),
        (EMPTY, EMPTY, 1.0, 1.0),
        (EMPTY, LEFT, 0.0, 0.0),
        (LEFT, EMPTY, 0.0, 0.0),
    ],
)
def test_overlap_in_closed_cases(
    predicted: Mask, truth: Mask, wanted_dice: float, wanted_iou: float
) -> None:
    assert dice(predicted, truth) == pytest.approx(wanted_dice)
    assert iou(predicted, truth) == pytest.approx(wanted_iou)


@given(pair=arrays(np.bool_, (2, 5, 7)), swap=st.booleans())
def test_overlap_is_scikit_learns_of_pixels(pair: NDArray[np.bool_], swap: bool) -> None:
    predicted, truth = pair[::-1] if swap else pair
    pixels = truth.ravel(), predicted.ravel()
    assert dice(predicted, truth) == pytest.approx(f1_score(*pixels, zero_division=1.0))
    assert iou(predicted, truth) == pytest.approx(jaccard_score(*pixels, zero_division=1.0))


def test_distance_in_closed_cases() -> None:
    assert hausdorff95_px(LEFT, LEFT) == 0
    assert hausdorff95_px(EMPTY, EMPTY) == 0
    assert math.isnan(hausdorff95_px(EMPTY, LEFT))
    assert math.isnan(hausdorff95_px(LEFT, EMPTY))
    one, other = EMPTY.copy(), EMPTY.copy()
    one[0, 0] = other[3, 4] = True
    assert hausdorff95_px(one, other) == pytest.approx(5.0)


@pytest.mark.parametrize("shift", [1, 7, 20])
def test_distance_of_shifted_discs(shift: int) -> None:
    """The outlines are as far apart as the shift, but for the few points beside its direction."""
    found = hausdorff95_px(disc(60, 50, 30), disc(60 + shift, 50, 30))
    assert 0.9 * shift <= found <= shift + 1e-5  # OpenCV's distances are FP32
    assert hausdorff95_px(disc(60, 50, 30), disc(60, 50, 30 + shift)) == pytest.approx(
        shift, abs=0.8
    )


def test_a_speck_far_away_is_not_hidden_by_a_good_outline() -> None:
    """A tenth of one outline is far off: the greater of both ways says so."""
    truth = disc(50, 50, 40)
    specks = truth.copy()
    specks[10:40:2, 150] = True
    far = hausdorff95_px(specks, truth)
    assert far > 55
    assert hausdorff95_px(truth, specks) == far


@given(pair=arrays(np.bool_, (2, 6, 8)))
def test_distance_is_the_percentile_of_all_pairs(pair: NDArray[np.bool_]) -> None:
    if not pair.any(axis=(1, 2)).all():
        return
    points = [np.argwhere(mask & ~binary_erosion(mask)) for mask in pair]
    apart = cdist(*points)
    wanted = max(
        np.percentile(apart.min(axis=1), 95),
        np.percentile(apart.min(axis=0), 95),
    )
    assert hausdorff95_px(*pair) == pytest.approx(wanted, abs=1e-5)
    np.testing.assert_array_equal(np.argwhere(outline(pair[0])), points[0])


def test_masks_of_two_sizes_are_refused() -> None:
    for measure in (dice, iou, hausdorff95_px):
        with pytest.raises(ValueError, match="bring both to the original image's pixels"):
            measure(EMPTY, EMPTY[:2])
