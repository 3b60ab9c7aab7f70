"""From the folds' numbers to what is reported: closed cases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from judged_folds import (
    GRADES,
    RECIPE,
    by,
    drawn_logits,
    make_outcome,
    resnet,
)
from thyroid_pipeline import contract
from thyroid_training import judge as module
from thyroid_training.cross_validation_report import report_figures, write_report
from thyroid_training.judge import RESNET, SERVED_FOREST, judge
from thyroid_training.protocol import FOLDS


@pytest.fixture(scope="module", autouse=True)
def one_forest_seed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(module, "_FOREST_SEEDS", range(1))
        yield


# --- closed cases


def test_a_perfect_classifier() -> None:
    results = by({0: -2.0, 1: 2.0})
    row = resnet(results)
    assert roc_auc_score(row.scores.labels, row.scores.scores[0]) == 1
    assert len(row.calls) == 3
    for calls in row.calls:
        np.testing.assert_array_equal(calls.calls[0], row.scores.labels == 1, calls.name)
    served = results.served
    assert served is not None
    is_followed_up = served.decisions[0] != contract.Decision.ROUTINE
    np.testing.assert_array_equal(is_followed_up, row.scores.labels == 1)
    figures = report_figures(results)["classification"]["classifiers"][-1]
    assert figures["name"] == RESNET
    assert figures["figures"]["auroc"] == {"estimate": 1, "low": 1, "high": 1}
    for point in figures["operating_points"]:
        for name in ("sensitivity", "specificity", "balanced_accuracy", "f1", "mcc"):
            assert point["figures"][name]["estimate"] == 1, (point["name"], name)


def test_a_swapped_classifier() -> None:
    """Calibration and thresholds never turn an answer round."""
    row = resnet(by({0: 2.0, 1: -2.0}))
    labels = row.scores.labels
    assert roc_auc_score(labels, row.scores.scores[0]) == 0
    for calls in row.calls:
        assert balanced_accuracy_score(labels, calls.calls[0]) <= 0.5, calls.name
    last = row.calls[-1]
    assert "F1 at specificity" in last.name
    # Every benign image lies at the top: to spare half of them, all must be spared.
    assert not last.calls.any()
    assert f1_score(labels, last.calls[0], zero_division=0) == 0


def test_a_classifier_that_says_one_thing() -> None:
    row = resnet(by({0: 1.0, 1: 1.0}))
    assert roc_auc_score(row.scores.labels, row.scores.scores[0]) == 0.5
    # Calibrated it says how many are malignant.
    np.testing.assert_allclose(row.scores.scores, 0.5, atol=0.01)


def test_nothing_found_anywhere(tmp_path: Path) -> None:
    results = by({0: np.nan, 1: np.nan})
    row = resnet(results)
    assert not row.scores.scores.any()
    (images,) = results.segmentation.values()
    assert {(image.dice, image.iou, image.found) for image in images} == {(0.0, 0.0, False)}
    assert results.explanations is None
    assert results.served is not None
    assert (results.served.decisions == contract.Decision.ROUTINE).all()
    write_report(results, tmp_path)
    document = json.loads((tmp_path / "cross_validation.json").read_text())
    assert document["segmentation"][0]["figures"]["dice_mean"]["estimate"] == 0
    assert document["segmentation"][0]["figures"]["nodule_found_share"]["estimate"] == 0
    assert document["classification"]["classifiers"][-1]["figures"]["auroc"]["estimate"] == 0.5
    assert document["detection"][0]["figures"]["sensitivity"]["estimate"] == 0
    # The forest on true masks is judged all the same.
    true_masks = next(c for c in results.classifiers if c.name.endswith("echo, true masks"))
    assert true_masks.scores.scores.any()


def test_one_grade_found_alone_in_all_folds() -> None:
    results = by({0: np.nan, 1: 1.0})
    row = resnet(results)
    assert roc_auc_score(row.scores.labels, row.scores.scores[0]) == 1
    assert (row.scores.scores[0][row.scores.labels == 0] == 0).all()
    assert results.feature_importances == {}
    assert results.explanations is not None
    assert len(results.explanations.groups) == FOLDS * sum(GRADES)


# --- each number is of the fold that held the image out


def test_images_are_judged_by_the_fold_that_held_them_out() -> None:
    outcomes = [
        make_outcome(fold, drawn_logits(fold), radius=4 + fold / 2) for fold in range(FOLDS)
    ]
    results = judge(outcomes, RECIPE, {"folds": FOLDS})
    assert results.protocol == {"folds": FOLDS}
    (images,) = results.segmentation.values()
    assert len(images) == FOLDS * (len(GRADES) + 1)
    assert {int(image.id.split("_")[0]) - image.fold for image in images} == {0}
    # The better the fold's masks, the larger its Dice: none is another fold's.
    dice = [{image.dice for image in images if image.fold == fold} for fold in range(FOLDS)]
    assert all(len(values) == 1 for values in dice)
    assert [values.pop() for values in dice] == sorted(image.dice for image in images)[::5]
    row = resnet(results)
    assert row.scores.ids == tuple(f"{f}_{n}" for f in range(FOLDS) for n in range(len(GRADES)))
    np.testing.assert_array_equal(row.scores.folds[0], np.repeat(range(FOLDS), len(GRADES)))
    # Within a fold one rising function was applied to its own logits.
    for fold, outcome in enumerate(outcomes):
        inside = row.scores.folds[0] == fold
        np.testing.assert_array_equal(
            np.argsort(row.scores.scores[0][inside]), np.argsort(outcome.logits[0])
        )
    assert results.worst[0].dice == min(image.dice for image in images)
    assert results.worst[0].id.startswith("0_")
    assert list(results.feature_importances) == [SERVED_FOREST]
    assert set(results.feature_importances[SERVED_FOREST]) == {"circularity", "echo_ratio"}
