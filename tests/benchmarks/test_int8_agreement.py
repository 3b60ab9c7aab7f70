"""Agreement of INT8 with FP32, on answers made by hand, against numpy and scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from thyroid_benchmarks.int8_agreement import (
    MalignancyAgreement,
    MaskAgreement,
    compare_malignancies,
    compare_masks,
    malignancy_auroc,
    outline_dice,
)
from thyroid_export.gate import HALF_GATE, INT8_GATE
from thyroid_export.mixed_parity import ImageSet
from thyroid_pipeline import contract
from thyroid_pipeline.letterbox import Geometry
from thyroid_training.dataset import Sample

SIDE, FRAME = contract.MAP_SIDE_PX, contract.FRAME_SIDE_PX
PARAMETERS = contract.CropperParameters()
# A square image without a border: one pixel of the map is one of the image.
GEOMETRY = Geometry.from_array(
    np.array([SIDE, SIDE, 0, 0, SIDE, SIDE, 0, 0, FRAME, FRAME], np.int32)
)


def masks_of(*sides: tuple[int, int] | None) -> np.ndarray[Any, np.dtype[np.bool_]]:
    masks = np.zeros((len(sides), SIDE, SIDE), np.bool_)
    for mask, square in zip(masks, sides, strict=True):
        if square is not None:
            mask[50 : 50 + square[0], 60 : 60 + square[1]] = True
    return masks


def answers_of(masks: Any, scores: list[float]) -> dict[str, Any]:
    return {
        contract.NODULE_PROBABILITY.name: masks[:, np.newaxis] * np.uint8(255),
        contract.OOD_SCORE.name: np.array(scores, np.float32)[:, np.newaxis],
    }


def test_masks_and_scores() -> None:
    wanted, got = masks_of((40, 100), (80, 50), None), masks_of((40, 100), (80, 40), None)
    images = ImageSet("squares", [np.zeros((3, 1))], (GEOMETRY,) * 3)
    found = compare_masks(
        images,
        answers_of(wanted, [0.5, 0.9, 0.9]),
        answers_of(got, [0.6, 1.1, 0.8]),
        PARAMETERS,
    )
    dices = [f1_score(wanted[row].ravel(), got[row].ravel()) for row in (0, 1)]
    assert found.compared == 2  # where neither finds a nodule there is no mask
    assert found.mean_dice == pytest.approx(np.mean(dices), abs=0.005)
    assert found.lowest_dice == pytest.approx(min(dices), abs=0.01)
    assert (found.frames, found.turned) == (3, 1)
    assert found.largest_score_move == pytest.approx(0.2)
    assert not found.holds


def test_the_bounds_are_what_decides() -> None:
    masks = MaskAgreement("phantoms", 9, INT8_GATE.dice_from, 0.2, 9, 0, INT8_GATE.score_within)
    assert masks.holds
    assert not replace(masks, mean_dice=INT8_GATE.dice_from - 1e-6).holds
    assert not replace(masks, largest_score_move=INT8_GATE.score_within + 1e-6).holds
    scores = MalignancyAgreement("phantoms", 9, 0.001, INT8_GATE.malignancy_within, 0)
    assert scores.holds
    assert not replace(scores, largest_move=INT8_GATE.malignancy_within + 1e-6).holds


def test_the_bounds_are_looser_than_those_of_half_precision() -> None:
    assert INT8_GATE.dice_from < HALF_GATE.dice_from
    assert HALF_GATE.malignancy_within < INT8_GATE.malignancy_within
    assert HALF_GATE.score_within < INT8_GATE.score_within


def regions_of(malignancies: list[float], decisions: list[int]) -> dict[str, Any]:
    count = len(malignancies)
    return {
        contract.MALIGNANCY.name: np.array(malignancies, np.float32)[:, np.newaxis],
        contract.EVIDENCE.name: np.zeros((count, *contract.EVIDENCE.shape), np.float32),
        contract.DECISION.name: np.array(decisions, np.int32)[:, np.newaxis],
    }


def test_malignancies_and_decisions() -> None:
    first, second = [0.2, 0.5, 0.9, np.nan], [0.21, 0.46, 0.9, np.nan]
    found = compare_malignancies(
        ImageSet("regions", [np.zeros((4, 1))]),
        regions_of(first, [1, 3, 3, 0]),
        regions_of(second, [1, 1, 3, 0]),
        PARAMETERS,
    )
    moves = np.abs(np.subtract(first, second))
    assert found.compared == 3
    assert found.mean_move == pytest.approx(np.nanmean(moves), abs=1e-6)
    assert found.largest_move == pytest.approx(np.nanmax(moves), abs=1e-6)
    assert found.decisions_turned == 1  # from 3 to 1 is one decision, not two
    assert not found.holds


def sample(truth: Any) -> Sample:
    frame = np.zeros((FRAME, FRAME), np.uint8)
    return Sample("a", "a", frame, frame > 0, truth, GEOMETRY, None)


def test_dice_with_outlines_counts_what_is_missed() -> None:
    truths, found = masks_of((60, 60), (60, 60)), masks_of((60, 50), None)
    wanted = f1_score(truths[0].ravel(), found[0].ravel()) / 2
    got = outline_dice(
        [sample(truth) for truth in truths], answers_of(found, [0.5, 0.5]), PARAMETERS
    )
    assert got == pytest.approx(wanted, abs=0.005)


def test_auroc_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 50)
    scores = np.round(rng.random(50) + 0.2 * labels, 1)  # with ties
    answers = regions_of(scores.tolist(), [1] * 50)
    assert malignancy_auroc(labels, answers) == pytest.approx(
        roc_auc_score(labels, answers[contract.MALIGNANCY.name].ravel())
    )
    assert malignancy_auroc(np.ones(50, np.int64), answers) is None
