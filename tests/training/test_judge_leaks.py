"""No test image influences a threshold: what a fold is judged by comes from the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from judged_folds import (
    CHANGED,
    GRADES,
    RECIPE,
    drawn_logits,
    make_outcome,
    resnet,
)
from thyroid_pipeline import contract
from thyroid_training import judge as module
from thyroid_training.classification_scores import Classifier
from thyroid_training.cross_validation_results import CrossValidation
from thyroid_training.fold_outcome import (
    BREASTS,
    PHANTOMS,
    THYROIDS,
    VARIED_PHANTOMS,
    VARIED_THYROIDS,
    FoldOutcome,
)
from thyroid_training.judge import judge
from thyroid_training.protocol import FOLDS


@pytest.fixture(scope="module", autouse=True)
def one_forest_seed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(module, "_FOREST_SEEDS", range(1))
        yield


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
