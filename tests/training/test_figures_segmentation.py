"""Figures of segmentations over images, seeds and patients."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from thyroid_training.figures_segmentation import (
    ImageResult,
    NoduleDetection,
    SeedTable,
    detection_intervals,
    measure_image,
    segmentation_intervals,
)

TRUTH = np.zeros((20, 30), np.bool_)
TRUTH[4:14, 5:20] = True


def results_of(dices: list[float], seed: int = 0) -> list[ImageResult]:
    return [
        ImageResult(
            id=f"image {index}",
            group=f"patient {index // 2}",
            fold=index % 2,
            dice=value,
            iou=value / (2 - value),
            hausdorff95_px=math.nan if value == 0 else 10 * (1 - value),
            found=value > 0,
            seed=seed,
        )
        for index, value in enumerate(dices)
    ]


def test_an_image_is_measured() -> None:
    perfect = measure_image("1", "p", 3, TRUTH, TRUTH, seed=5)
    assert perfect == ImageResult("1", "p", 3, 1.0, 1.0, 0.0, True, 5)
    missed = measure_image("1", "p", 3, np.zeros_like(TRUTH), TRUTH)
    assert (missed.dice, missed.iou, missed.found) == (0.0, 0.0, False)
    assert math.isnan(missed.hausdorff95_px)
    beside = measure_image("1", "p", 3, ~TRUTH, TRUTH)
    assert (beside.dice, beside.iou, beside.found) == (0.0, 0.0, True)


def test_perfect_images() -> None:
    figures = segmentation_intervals(results_of([1.0] * 6))
    wanted = {"dice_mean": 1, "dice_median": 1, "iou_mean": 1, "nodule_found_share": 1}
    for name, figure in figures.items():
        value = wanted.get(name, 0)
        assert (figure.estimate, figure.low, figure.high) == (value, value, value), name


def test_figures_counted_by_hand() -> None:
    figures = segmentation_intervals(results_of([0.9, 0.8, 0.0, 0.5, 0.4, 0.0, 1.0, 0.6]))
    estimates = {name: figure.estimate for name, figure in figures.items()}
    assert estimates == pytest.approx(
        {
            "dice_mean": 4.2 / 8,
            "dice_median": 0.55,
            "iou_mean": np.mean([9 / 11, 8 / 12, 0, 1 / 3, 1 / 4, 0, 1, 3 / 7]),
            "hausdorff95_mean_px": (1 + 2 + 5 + 6 + 0 + 4) / 6,
            "hausdorff95_median_px": 3.0,
            "hausdorff95_undefined_share": 2 / 8,
            "dice_below_half_share": 3 / 8,
            "nodule_found_share": 6 / 8,
        }
    )
    for name, figure in figures.items():
        assert figure.low < figure.estimate < figure.high, name


def test_nothing_found_has_no_distance() -> None:
    figures = segmentation_intervals(results_of([0.0] * 4))
    assert math.isnan(figures["hausdorff95_mean_px"].estimate)
    assert math.isnan(figures["hausdorff95_median_px"].high)
    assert figures["hausdorff95_undefined_share"].estimate == 1
    assert figures["dice_mean"].high == 0


def test_figures_are_means_over_seeds() -> None:
    both = [*results_of([1.0, 0.2, 0.6]), *results_of([0.5, 0.4, 0.0], seed=1)]
    figures = segmentation_intervals(both)
    assert figures["dice_mean"].estimate == pytest.approx((0.6 + 0.3) / 2)
    assert figures["dice_median"].estimate == pytest.approx((0.6 + 0.4) / 2)
    assert figures["dice_below_half_share"].estimate == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert figures["hausdorff95_mean_px"].estimate == pytest.approx((4 + 5.5) / 2)


def test_two_equal_seeds_are_no_more_certain_than_one() -> None:
    once = results_of([0.9, 0.1, 0.6, 0.8, 0.3, 0.7])
    twice = [*once, *(replace(result, seed=1) for result in once)]
    assert segmentation_intervals(once) == pytest.approx(segmentation_intervals(twice))


def test_median_is_numpys_for_weights_of_one() -> None:
    for count in (5, 6):
        dices = np.random.default_rng(count).random(count)
        figures = segmentation_intervals(results_of(dices.tolist()))
        assert figures["dice_median"].estimate == pytest.approx(np.median(dices))


@pytest.mark.parametrize(
    "results",
    [
        [],
        [*results_of([0.5, 0.5]), *results_of([0.5], seed=1)],
        [*results_of([0.5, 0.5]), *results_of([0.5])],
    ],
    ids=["none", "a seed lacks an image", "an image twice"],
)
def test_uneven_seeds_are_refused(results: list[ImageResult]) -> None:
    with pytest.raises(ValueError, match="give every seed the same images, each once"):
        segmentation_intervals(results)


def test_table_is_in_the_order_of_ids() -> None:
    table = SeedTable([*reversed(results_of([0.1, 0.2])), *results_of([0.3, 0.4], seed=7)])
    assert (table.seeds, table.ids) == ([0, 7], ["image 0", "image 1"])
    np.testing.assert_allclose(table.values(lambda result: result.dice), [[0.1, 0.2], [0.3, 0.4]])
    np.testing.assert_array_equal(table.folds, [[0, 1], [0, 1]])


def test_detection_counted_by_hand() -> None:
    present = np.array([True, True, True, True, False, False])
    found = np.array(
        [[True, True, True, False, False, True], [True, True, False, False, False, False]]
    )
    detection = NoduleDetection("frames", tuple("abcdef"), present, found)
    figures = detection_intervals(detection)
    assert figures["sensitivity"].estimate == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert figures["specificity"].estimate == pytest.approx((1 / 2 + 1) / 2)
    assert figures["sensitivity"].low < figures["sensitivity"].high


def test_frames_of_one_kind_have_one_figure() -> None:
    empty = NoduleDetection("normals", tuple("abc"), np.zeros(3, bool), np.eye(1, 3) > 0)
    figures = detection_intervals(empty)
    assert set(figures) == {"specificity"}
    assert figures["specificity"].estimate == pytest.approx(2 / 3)


def test_detection_of_two_sizes_is_refused() -> None:
    with pytest.raises(ValueError, match="of the same N were wanted"):
        NoduleDetection("frames", ("a",), np.zeros(2, bool), np.zeros((1, 2), bool))
