"""No held-out score or label moves what is applied to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from thyroid_training.calibrated_calls import cross_fitted_calibration
from thyroid_training.classification_scores import ClassificationScores
from thyroid_training.cross_fitting import cross_fitted, cross_fitted_calls
from thyroid_training.operating_point import screening_threshold

Labels = NDArray[np.int64]
Scores = NDArray[np.float64]

COUNT = 60
FOLDS = np.arange(COUNT) % 5


def test_each_fold_is_fitted_on_the_others() -> None:
    numbers = np.arange(COUNT, dtype=np.float64)
    found = cross_fitted(
        FOLDS,
        (numbers,),
        numbers,
        lambda others: float(others.sum()),
        lambda total, held_out: total + held_out.sum() + 0 * held_out,
    )
    np.testing.assert_allclose(found.values, numbers.sum())
    assert list(found.fitted) == [0, 1, 2, 3, 4]
    assert found.fitted[2] == numbers[FOLDS != 2].sum()


def test_values_keep_the_order_of_the_samples() -> None:
    numbers = np.random.default_rng(0).random(COUNT)
    found = cross_fitted(FOLDS, (), numbers, lambda: 1.0, lambda one, held_out: one * held_out)
    np.testing.assert_array_equal(found.values, numbers)


def test_one_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 were wanted"):
        cross_fitted(np.zeros(3, np.int64), (), np.ones(3), lambda: 1, np.multiply)


@given(fold=st.integers(0, 4), seed=st.integers(0, 1_000))
def test_the_held_out_fold_moves_nothing_of_its_own(fold: int, seed: int) -> None:
    """Whatever happens to fold k's scores and labels, the threshold applied to it stays."""
    generator = np.random.default_rng(seed)
    labels, scores = np.arange(COUNT) // 5 % 2, generator.random(COUNT)
    inside = np.equal(FOLDS, fold)
    other_labels, other_scores = labels.copy(), scores.copy()
    other_labels[inside] = generator.integers(0, 2, inside.sum())
    other_scores[inside] = generator.random(inside.sum())

    def fitted(labels: Labels, scores: Scores) -> tuple[float, NDArray[np.bool_]]:
        found = cross_fitted(
            FOLDS, (labels, scores), scores, screening_threshold, lambda limit, own: own >= limit
        )
        return found.fitted[fold], found.values[inside]

    threshold, calls = fitted(labels, scores)
    assert fitted(other_labels, other_scores)[0] == threshold
    # Its own labels alone change nothing of its answers either.
    np.testing.assert_array_equal(fitted(other_labels, scores)[1], calls)
    np.testing.assert_array_equal(calls, scores[inside] >= threshold)


@given(fold=st.integers(0, 4))
def test_other_folds_do_move_it(fold: int) -> None:
    """So that the test above cannot pass by fitting on nothing."""
    labels, scores = np.arange(COUNT) // 5 % 2, np.linspace(0, 1, COUNT)
    moved = np.where(fold == FOLDS, scores, scores / 2)

    def threshold(scores: Scores) -> float:
        return cross_fitted(
            FOLDS, (labels, scores), scores, screening_threshold, lambda limit, own: own >= limit
        ).fitted[fold]

    assert threshold(moved) < threshold(scores)


@pytest.mark.parametrize("fold", range(5))
def test_a_folds_labels_do_not_move_its_malignancy(fold: int) -> None:
    generator = np.random.default_rng(fold)
    labels = (np.arange(COUNT) // 5 % 3 > 0).astype(np.int64)
    logits = generator.normal(labels, 1.0)
    logits[:7] = np.nan
    inside = fold == FOLDS
    before = cross_fitted_calibration(FOLDS, labels, logits)
    after = cross_fitted_calibration(FOLDS, np.where(inside, 1 - labels, labels), logits)
    np.testing.assert_array_equal(before.values[inside], after.values[inside])
    assert before.fitted[fold] == after.fitted[fold]
    assert (before.values[~inside] != after.values[~inside]).any()
    np.testing.assert_array_equal(before.values[:7], 0)
    assert (before.values[7:] > 0).all()


def test_calls_of_each_seed_are_by_its_own_thresholds() -> None:
    generator = np.random.default_rng(2)
    labels = np.arange(COUNT) // 5 % 2
    folds = np.array([FOLDS, (FOLDS + np.arange(COUNT) // 20) % 5])
    scores = generator.random((2, COUNT))
    of = ClassificationScores(
        tuple(str(index) for index in range(COUNT)),
        tuple(str(index) for index in range(COUNT)),
        labels,
        folds,
        scores,
    )
    calls = cross_fitted_calls("screening", of, screening_threshold)
    assert (calls.name, calls.calls.shape, calls.thresholds.shape) == (
        "screening",
        (2, COUNT),
        (2, 5),
    )
    for seed in range(2):
        for fold in range(5):
            others = folds[seed] != fold
            limit = screening_threshold(labels[others], scores[seed, others])
            assert calls.thresholds[seed, fold] == limit
            np.testing.assert_array_equal(
                calls.calls[seed, ~others], scores[seed, ~others] >= limit
            )
