"""Figures over many weightings, each against scikit-learn's for that weighting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from thyroid_training import weighted_metrics as metrics

Case = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Labels of both classes, scores with many ties, and weights that leave neither class out."""
    count = draw(st.integers(2, 30))
    labels = [0, 1, *draw(st.lists(st.integers(0, 1), min_size=count - 2, max_size=count - 2))]
    scores = draw(st.lists(st.integers(0, 8), min_size=count, max_size=count))
    weights = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    weights[:2] = [1, 2]
    return np.array(labels), np.array(scores) / 8, np.array([weights, [1] * count], np.float64)


@settings(max_examples=30)
@given(case=cases())
def test_ranking_is_scikit_learns(case: Case) -> None:
    labels, scores, weights = case
    for name, own, theirs in (
        ("auroc", metrics.auroc, sklearn_metrics.roc_auc_score),
        ("ap", metrics.average_precision, sklearn_metrics.average_precision_score),
        ("brier", metrics.brier_score, sklearn_metrics.brier_score_loss),
    ):
        wanted = [theirs(labels, scores, sample_weight=row) for row in weights]
        np.testing.assert_allclose(own(labels, scores, weights), wanted, atol=1e-12, err_msg=name)


@settings(max_examples=30)
@given(case=cases(), limit=st.floats(-0.1, 1.1))
def test_calls_are_scikit_learns(case: Case, limit: float) -> None:
    labels, scores, weights = case
    calls = scores >= limit
    own = metrics.call_figures(labels, calls, weights)
    for index, row in enumerate(weights):
        given_weights: dict[str, Any] = {"sample_weight": row}
        wanted = {
            "f1": sklearn_metrics.f1_score(labels, calls, zero_division=0.0, **given_weights),
            "accuracy": sklearn_metrics.accuracy_score(labels, calls, **given_weights),
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(
                labels, calls, **given_weights
            ),
            "sensitivity": sklearn_metrics.recall_score(labels, calls, **given_weights),
            "specificity": sklearn_metrics.recall_score(
                labels, calls, pos_label=0, **given_weights
            ),
            "mcc": sklearn_metrics.matthews_corrcoef(labels, calls, **given_weights),
        }
        assert {name: values[index] for name, values in own.items()} == pytest.approx(
            wanted, abs=1e-9
        )


@given(case=cases())
def test_whole_weights_are_copies(case: Case) -> None:
    labels, scores, weights = case
    copies = weights[0].astype(np.int64)
    repeated = metrics.auroc(
        labels.repeat(copies), scores.repeat(copies), np.ones((1, copies.sum()))
    )
    assert metrics.auroc(labels, scores, weights)[0] == pytest.approx(repeated[0])


@settings(max_examples=30)
@given(seed=st.integers(0, 50), bins=st.integers(1, 12))
def test_calibration_error_is_that_of_scikit_learns_curve(seed: int, bins: int) -> None:
    generator = np.random.default_rng(seed)
    scores = np.round(generator.random(120), 2)
    labels = (generator.random(120) < scores**2).astype(np.int64)
    shares, means = calibration_curve(labels, scores, n_bins=bins, strategy="quantile")
    counts = np.bincount(metrics.calibration_bins(scores, bins))
    wanted = (counts[counts > 0] * np.abs(shares - means)).sum() / 120
    ones = np.ones((1, 120))
    assert metrics.calibration_error(labels, scores, ones, bins)[0] == pytest.approx(wanted)


def test_bins_hold_as_many_samples() -> None:
    scores = np.random.default_rng(0).random(346)
    assert set(np.bincount(metrics.calibration_bins(scores))) <= {34, 35}
    np.testing.assert_array_equal(metrics.calibration_bins(np.full(9, 0.3)), 0)


def test_calibration_error_in_closed_cases() -> None:
    labels = np.array([0, 0, 0, 1])
    ones = np.ones((1, 4))
    assert metrics.calibration_error(labels, labels.astype(float), ones)[0] == 0
    assert metrics.calibration_error(labels, 1.0 - labels, ones)[0] == 1
    assert metrics.calibration_error(labels, np.full(4, 0.25), ones)[0] == 0
    assert metrics.calibration_error(labels, np.ones(4), ones)[0] == 0.75


def test_chance_is_what_true_odds_show() -> None:
    """Labels drawn by the scores show, on average, the error that is put down to chance."""
    generator = np.random.default_rng(4)
    scores = generator.beta(5, 1, 346)
    errors = [
        metrics.calibration_error(
            (generator.random(346) < scores).astype(np.int64), scores, np.ones((1, 346))
        )[0]
        for _ in range(400)
    ]
    chance = metrics.calibration_error_by_chance(scores, draws=2_000, seed=0)
    assert chance == pytest.approx(np.mean(errors), rel=0.05)
    assert metrics.calibration_error_by_chance(np.ones(20), draws=10, seed=0) == 0


def test_roc_goes_through_the_points_of_scikit_learns() -> None:
    generator = np.random.default_rng(5)
    labels = (np.arange(80) % 4 > 0).astype(np.int64)
    scores = np.array((labels * 0.2 + generator.random(80)).round(1), np.float64)
    rates, sensitivities, _ = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
    last = np.r_[np.diff(rates) > 0, True]  # the upper end of each vertical step
    own = metrics.roc_sensitivities(labels, scores, np.ones((1, 80)), rates[last])
    np.testing.assert_allclose(own[0], sensitivities[last])
