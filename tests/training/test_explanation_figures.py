"""The evidence's measure, on models of which it is known what they look at."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import auc

from thyroid_pipeline import contract
from thyroid_training.explanation_figures import (
    SHARES,
    Explanations,
    area_under,
    blurred,
    explain,
    explanation_intervals,
    mass_inside,
    mean_curve,
    perturbed_regions,
    shuffled_evidence,
    upsample_evidence,
)

SIDE, CELLS = contract.ROI_SIDE_PX, contract.EVIDENCE_SIDE
CELL = SIDE // CELLS
UPPER_LEFT = (slice(0, 2 * CELL), slice(0, 2 * CELL))
CORNERS = (slice(None), *UPPER_LEFT)  # of several pictures


@pytest.fixture
def roi() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(60, 200, (SIDE, SIDE), np.uint8)


@pytest.fixture
def evidence() -> NDArray[np.float32]:
    """All of it in the four cells of the upper left corner."""
    cells = np.full((CELLS, CELLS), -0.5, np.float32)
    cells[:2, :2] = 2.0
    return cells


def looks_at_the_corner(regions: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Malignant by how much the upper left corner varies: blurring it takes that away."""
    return np.asarray(regions[CORNERS].std(axis=(1, 2)) / 50)


def test_evidence_lies_where_the_overlay_puts_it(evidence: NDArray[np.float32]) -> None:
    """The overlay stretches the map edge to edge over the region, as Pillow's resize does."""
    drawn = np.random.default_rng(1).normal(size=(CELLS, CELLS)).astype(np.float32)
    pillow = Image.fromarray(drawn).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(upsample_evidence(drawn), np.asarray(pillow), atol=1e-4)
    assert upsample_evidence(evidence)[CELL // 2, CELL // 2] == 2.0
    assert upsample_evidence(evidence)[-1, -1] == -0.5


def test_blur_keeps_the_brightness_and_nothing_to_tell(roi: NDArray[np.uint8]) -> None:
    baseline = blurred(roi)
    assert baseline.dtype == np.uint8
    assert baseline.mean() == pytest.approx(roi.mean(), abs=1.5)
    assert baseline.std() < 0.1 * roi.std()


def test_strongest_evidence_goes_first(
    roi: NDArray[np.uint8], evidence: NDArray[np.float32]
) -> None:
    deleted, inserted = perturbed_regions(roi, evidence, (0.0, 0.04, 1.0))
    baseline = blurred(roi)
    np.testing.assert_array_equal(deleted[0], roi)
    np.testing.assert_array_equal(deleted[2], baseline)
    np.testing.assert_array_equal(inserted[0], baseline)
    np.testing.assert_array_equal(inserted[2], roi)
    # Four of 25 cells are 16%: the first 4% lie within them.
    outside = np.ones((SIDE, SIDE), np.bool_)
    outside[UPPER_LEFT] = False
    np.testing.assert_array_equal(deleted[1][outside], roi[outside])
    np.testing.assert_array_equal(inserted[1][outside], baseline[outside])
    changed = (deleted[1] != roi).mean()
    assert 0.036 < changed <= 0.04
    # Each pixel is in one of the two.
    np.testing.assert_array_equal(deleted[1].astype(int) + inserted[1], roi.astype(int) + baseline)


def test_shuffled_cells_are_the_same_cells(evidence: NDArray[np.float32]) -> None:
    shuffled = shuffled_evidence(evidence, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(shuffled, axis=None), np.sort(evidence, axis=None))
    assert (shuffled != evidence).any()


def test_mass_in_closed_cases(evidence: NDArray[np.float32]) -> None:
    nodule = np.zeros((SIDE, SIDE), np.bool_)
    nodule[UPPER_LEFT] = True
    even, area = mass_inside(np.full((CELLS, CELLS), -1.0, np.float32), nodule)
    assert even == pytest.approx(area)
    assert area == pytest.approx(4 / CELLS**2)
    assert mass_inside(evidence, nodule)[0] > 2 * area
    assert mass_inside(evidence, np.ones_like(nodule))[0] == pytest.approx(1)
    assert mass_inside(evidence, np.zeros_like(nodule)) == (0, 0)
    assert np.isnan(mass_inside(np.zeros((CELLS, CELLS), np.float32), nodule)[0])


def test_a_true_map_is_better_than_chance_and_a_false_one_worse(
    roi: NDArray[np.uint8], evidence: NDArray[np.float32]
) -> None:
    count = 6
    rois = np.stack([roi] * count)
    nodules = np.zeros((count, SIDE, SIDE), np.bool_)
    nodules[CORNERS] = True
    groups = tuple(str(index) for index in range(count))

    def figures(cells: NDArray[np.float32]) -> dict[str, float]:
        maps = np.stack([cells] * count)
        found = explain(groups, rois, maps, nodules, lambda _: looks_at_the_corner)
        assert found.deletion.shape == (count, len(SHARES))
        np.testing.assert_allclose(found.deletion[:, 0], found.insertion[:, -1])
        np.testing.assert_allclose(found.deletion[:, -1], found.random_deletion[:, -1])
        return {name: value.estimate for name, value in explanation_intervals(found).items()}

    true, false = figures(evidence), figures(-evidence)
    assert true["deletion_gain"] > 0.1
    assert true["insertion_gain"] > 0.1
    assert false["deletion_gain"] < 0
    assert false["insertion_gain"] < 0
    assert true["mass_gain"] > 0.1
    assert true["deletion_gain"] == pytest.approx(
        true["random_deletion_area"] - true["deletion_area"]
    )


def test_each_image_is_judged_by_its_own_network(
    roi: NDArray[np.uint8], evidence: NDArray[np.float32]
) -> None:
    rois, maps = np.stack([roi, roi]), np.stack([evidence, evidence])
    nodules = np.ones((2, SIDE, SIDE), np.bool_)
    found = explain(
        ("a", "b"),
        rois,
        maps,
        nodules,
        lambda index: lambda regions: np.full(len(regions), index + 0.25),
        shares=(0.0, 1.0),
    )
    np.testing.assert_array_equal(found.insertion, [[0.25, 0.25], [1.25, 1.25]])


def test_area_is_scikit_learns() -> None:
    curves = np.random.default_rng(0).random((5, len(SHARES)))
    np.testing.assert_allclose(area_under(curves, SHARES), [auc(SHARES, row) for row in curves])
    np.testing.assert_allclose(area_under(np.full((1, 3), 0.7), (0.0, 0.1, 1.0)), 0.7)


def test_mean_curve_has_bounds_over_patients() -> None:
    curves = np.array([[0.0, 1.0], [0.5, 1.0], [1.0, 1.0]])
    mean, (low, high) = mean_curve(("a", "b", "c"), curves)
    np.testing.assert_allclose(mean, [0.5, 1.0])
    np.testing.assert_allclose([low[1], high[1]], 1.0)
    assert low[0] < 0.5 < high[0]


def test_uneven_curves_are_refused() -> None:
    curves = np.zeros((2, 3))
    with pytest.raises(ValueError, match="for 2 groups and 3 shares"):
        Explanations(
            ("a", "b"),
            (0.0, 0.5, 1.0),
            curves,
            curves,
            curves,
            curves[:, :2],
            curves[:, 0],
            curves[:, 0],
        )
