"""From the folds' numbers to what is reported: closed cases, and no say in one's own threshold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score
from torch import Tensor, nn

from thyroid_pipeline import contract
from thyroid_pipeline.crop import Crop
from thyroid_pipeline.mask_png import encode_mask
from thyroid_training import judge as module
from thyroid_training.classification_scores import Classifier
from thyroid_training.cross_validation_report import report_figures, write_report
from thyroid_training.cross_validation_results import CrossValidation
from thyroid_training.dataset import Sample
from thyroid_training.figures_segmentation import measure_image
from thyroid_training.fit import FitConfig
from thyroid_training.fold_outcome import (
    BREASTS,
    PHANTOMS,
    THYROIDS,
    VARIED_PHANTOMS,
    VARIED_THYROIDS,
    FoldOutcome,
    GateDistances,
)
from thyroid_training.forest import ForestConfig
from thyroid_training.forest_run import ForestTable
from thyroid_training.judge import RESNET, SERVED_FOREST, judge
from thyroid_training.protocol import FOLDS
from thyroid_training.recipe import ClassificationStage, Recipe, SegmentationStage
from thyroid_training.resnet18 import ResNet18

GRADES = (0, 0, 1, 1)
FIELDS = len(contract.MORPHOLOGY_FIELDS)
HEIGHT_PX, WIDTH_PX = 24, 36
CHANGED = 2

FIT = FitConfig(epochs=1)
RECIPE = Recipe(
    segmentation=SegmentationStage(FIT, 0),
    classification_pretraining=ClassificationStage(FIT),
    classification=ClassificationStage(FIT),
    forest=ForestConfig(("circularity", "echo_ratio"), trees=3, min_samples_leaf=1),
)


@pytest.fixture(scope="module", autouse=True)
def one_forest_seed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(module, "_FOREST_SEEDS", range(1))
        yield


class Brightness(ResNet18):
    """A classifier that takes the bright for malignant."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def table(generator: np.random.Generator) -> ForestTable:
    labels = np.tile(GRADES, 3).astype(np.int64)
    return ForestTable(generator.random((len(labels), FIELDS)).astype(np.float32), labels)


def disc(radius: float) -> NDArray[np.bool_]:
    rows, columns = np.indices((HEIGHT_PX, WIDTH_PX))
    return np.asarray(np.hypot(rows - 12, columns - 18) <= radius)


def make_sample(name: str, label: int | None) -> Sample:
    """What is judged of a sample: its name, its patient and its grade."""
    nothing: Any = None
    return Sample(name, f"patient of {name}", nothing, nothing, disc(8), nothing, label)


def make_crop(generator: np.random.Generator, *, found: bool) -> Crop:
    side = contract.ROI_SIDE_PX
    roi = generator.integers(0, 256, (side, side)) if found else np.zeros((side, side))
    figures = generator.random(FIELDS) if found else np.full(FIELDS, np.nan)
    return Crop(
        roi.astype(np.uint8),
        found,
        np.array([10, 4, 16, 16] if found else [0, 0, 0, 0], np.int32),
        encode_mask(disc(8 if found else -1)),
        figures.astype(np.float32),
    )


def make_outcome(
    fold: int,
    logits: Sequence[float],
    *,
    labels: Sequence[int] = GRADES,
    radius: float = 6,
    distance: float = 1.0,
) -> FoldOutcome:
    """One fold: as many graded images as labels, and one without a grade.

    Args:
        fold: Its number; everything random follows from it.
        logits: Of the graded; NaN where nothing was found.
        labels: Of the graded.
        radius: Of every mask that was predicted, where 8 is the truth.
        distance: Of thyroids and phantoms to what the gate knows, about.
    """
    generator = np.random.default_rng(fold)
    graded = tuple(make_sample(f"{fold}_{row}", label) for row, label in enumerate(labels))
    everything = (*graded, make_sample(f"{fold}_ungraded", None))
    found = ~np.isnan(np.asarray(logits))
    masks = {
        sample.name: disc(radius if is_found else -1)
        for sample, is_found in zip(everything, (*found, found.any()), strict=True)
    }
    side, cells = contract.ROI_SIDE_PX, contract.EVIDENCE_SIDE

    def distances(names: tuple[str, ...], about: float) -> GateDistances:
        drawn = about * generator.uniform(0.5, 1.5, (2, len(names)))
        return GateDistances(names, *drawn.astype(np.float32))

    return FoldOutcome(
        fold=fold,
        images=tuple(
            measure_image(s.name, s.group, fold, masks[s.name], s.truth) for s in everything
        ),
        graded=graded,
        masks=masks,
        truths={sample.name: sample.truth for sample in everything},
        logits=np.array([logits], np.float64),
        crops=tuple(make_crop(generator, found=bool(is_found)) for is_found in found),
        evidence=generator.normal(size=(len(labels), cells, cells)).astype(np.float32),
        nodules=np.ones((len(labels), side, side), np.bool_),
        classification=Brightness(),
        outlined_table=table(generator),
        predicted_table=table(generator),
        outlined=generator.random((len(labels), FIELDS)).astype(np.float32),
        phantoms=((f"with {fold}", True, bool(found.any())), (f"without {fold}", False, False)),
        distances={
            **{kind: distances(tuple(masks), distance) for kind in (THYROIDS, VARIED_THYROIDS)},
            **{
                kind: distances((f"with {fold}", f"without {fold}"), distance)
                for kind in (PHANTOMS, VARIED_PHANTOMS)
            },
            BREASTS: distances((f"breast {fold} a", f"breast {fold} b"), 2.0),
        },
    )


def by(logit_of: dict[int, float], **options: Any) -> CrossValidation:
    """All folds, each with the same logit for each grade."""
    logits = [logit_of[label] for label in GRADES]
    return judge([make_outcome(fold, logits, **options) for fold in range(FOLDS)], RECIPE, {})


def drawn_logits(fold: int) -> list[float]:
    """Logits that tell the grades apart, more or less."""
    generator = np.random.default_rng(100 + fold)
    return [float(generator.normal(1.5 * label, 1.0)) for label in GRADES]


def resnet(results: CrossValidation) -> Classifier:
    return results.classifier(RESNET)


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


# --- no test image influences a threshold


@pytest.fixture(scope="module")
def drawn() -> list[FoldOutcome]:
    return [make_outcome(fold, drawn_logits(fold)) for fold in range(FOLDS)]


@pytest.fixture(scope="module")
def before(one_forest_seed: None, drawn: list[FoldOutcome]) -> CrossValidation:
    return judge(drawn, RECIPE, {})


def changed(drawn: list[FoldOutcome], **options: Any) -> CrossValidation:
    """The same, but for one fold."""
    other = make_outcome(CHANGED, **{"logits": drawn_logits(CHANGED), **options})
    return judge([other if o.fold == CHANGED else o for o in drawn], RECIPE, {})


def applied_thresholds(results: CrossValidation, fold: int) -> dict[str, float]:
    return {
        f"{row.name}, {calls.name}": float(calls.thresholds[0, fold])
        for row in results.classifiers
        for calls in row.calls
    }


def in_fold(values: NDArray[Any], row: Classifier, fold: int) -> NDArray[Any]:
    return np.asarray(values[row.scores.folds == fold])


def test_a_fold_s_grades_have_no_say_in_what_it_is_judged_by(
    drawn: list[FoldOutcome], before: CrossValidation
) -> None:
    after = changed(drawn, labels=tuple(1 - label for label in GRADES))
    assert applied_thresholds(after, CHANGED) == applied_thresholds(before, CHANGED)
    for row, other in zip(after.classifiers, before.classifiers, strict=True):
        np.testing.assert_array_equal(
            in_fold(row.scores.scores, row, CHANGED), in_fold(other.scores.scores, other, CHANGED)
        )
        for calls, others in zip(row.calls, other.calls, strict=True):
            np.testing.assert_array_equal(
                in_fold(calls.calls, row, CHANGED), in_fold(others.calls, other, CHANGED)
            )
    assert after.served is not None
    assert before.served is not None
    np.testing.assert_array_equal(
        in_fold(after.served.decisions, resnet(after), CHANGED),
        in_fold(before.served.decisions, resnet(before), CHANGED),
    )
    # The other folds' thresholds and calibrations do hang on it, and what is served as well.
    assert any(
        applied_thresholds(after, fold) != applied_thresholds(before, fold)
        for fold in range(FOLDS)
        if fold != CHANGED
    )
    assert (resnet(after).scores.scores != resnet(before).scores.scores).any()
    assert after.served.calibration != before.served.calibration


def test_a_fold_s_logits_have_no_say_in_what_it_is_judged_by(
    drawn: list[FoldOutcome], before: CrossValidation
) -> None:
    first, *_ = drawn_logits(CHANGED)
    after = changed(drawn, logits=[first, 9.0, -9.0, -9.0])
    assert applied_thresholds(after, CHANGED) == applied_thresholds(before, CHANGED)
    assert applied_thresholds(after, CHANGED - 1) != applied_thresholds(before, CHANGED - 1)
    # The image of the same logit has the same malignancy: it was calibrated by the others.
    same, was = (in_fold(r.scores.scores, r, CHANGED)[0] for r in (resnet(after), resnet(before)))
    assert same == was
    assert in_fold(resnet(after).scores.scores, resnet(after), CHANGED)[1] > was


def test_a_fold_s_frames_have_no_say_in_the_gate_they_are_judged_by(
    drawn: list[FoldOutcome], before: CrossValidation
) -> None:
    after = changed(drawn, distance=50.0)
    assert after.out_of_distribution is not None
    assert before.out_of_distribution is not None
    breasts, others = (
        dict(zip(scores.groups, scores.scores[0], strict=True))
        for results in (after, before)
        for scores in results.out_of_distribution.foreign  # type: ignore[union-attr]
        if scores.name == BREASTS
    )
    assert len(breasts) == 2 * FOLDS
    for name in breasts:
        is_of_changed_fold = name.startswith(f"breast {CHANGED} ")
        assert (breasts[name] == others[name]) == is_of_changed_fold, name
    assert after.served is not None
    assert before.served is not None
    assert all(
        limit > was
        for limit, was in zip(after.served.gate_limits, before.served.gate_limits, strict=True)
    )


def test_the_gate_s_scores_are_distances_in_units_of_the_others_limits(
    drawn: list[FoldOutcome], before: CrossValidation
) -> None:
    assert before.out_of_distribution is not None
    inside = before.out_of_distribution.inside
    assert inside.name == THYROIDS
    assert inside.groups[0] == "patient of 0_0"
    others = [outcome.distances for outcome in drawn[1:]]
    thyroids = [o[kind].thyroids for o in others for kind in (THYROIDS, VARIED_THYROIDS)]
    phantoms = [o[kind].phantoms for o in others for kind in (PHANTOMS, VARIED_PHANTOMS)]
    to_thyroids, to_phantoms = (np.quantile(np.hstack(d), 0.99) for d in (thyroids, phantoms))
    own = drawn[0].distances[THYROIDS]
    wanted = np.minimum(own.thyroids[0] / to_thyroids, own.phantoms[0] / to_phantoms)
    assert inside.scores[0, 0] == pytest.approx(wanted, rel=1e-5)
    assert (inside.scores > contract.OOD_LIMIT).mean() < 0.1


def test_seeds_are_judged_each_for_itself(drawn: list[FoldOutcome]) -> None:
    twice = [
        replace(outcome, logits=np.concatenate([outcome.logits, -outcome.logits]))
        for outcome in drawn
    ]
    row = resnet(judge(twice, RECIPE, {}))
    alone = resnet(judge(drawn, RECIPE, {}))
    assert row.scores.scores.shape == (2, FOLDS * len(GRADES))
    np.testing.assert_array_equal(row.scores.scores[0], alone.scores.scores[0])
    for calls, once in zip(row.calls, alone.calls, strict=True):
        np.testing.assert_array_equal(calls.calls[0], once.calls[0])
