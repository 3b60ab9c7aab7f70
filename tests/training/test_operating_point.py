"""Thresholds reach what was asked of them, and the band around the screening threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, f1_score, recall_score

from thyroid_pipeline.contract import Decision
from thyroid_training.operating_point import (
    OperatingPoint,
    balanced_threshold,
    f1_threshold_with_specificity,
    fit_operating_point,
    screening_threshold,
)

Samples = tuple[NDArray[np.int64], NDArray[np.float64]]


@st.composite
def samples(draw: st.DrawFn) -> Samples:
    count = draw(st.integers(2, 40))
    labels = [0, 1, *draw(st.lists(st.integers(0, 1), min_size=count - 2, max_size=count - 2))]
    scores = draw(st.lists(st.integers(0, 20), min_size=count, max_size=count))
    return np.array(labels), np.array(scores) / 20


def reached(labels: NDArray[np.int64], scores: NDArray[np.float64], threshold: float) -> float:
    return float(recall_score(labels, scores >= threshold))


@given(drawn=samples(), asked=st.sampled_from([0.05, 0.5, 0.8, 0.9, 0.95, 1.0]))
def test_screening_reaches_the_sensitivity_and_no_higher_threshold_does(
    drawn: Samples, asked: float
) -> None:
    labels, scores = drawn
    threshold = screening_threshold(labels, scores, asked)
    assert reached(labels, scores, threshold) >= asked - 1e-9
    for higher in scores[scores > threshold]:
        assert reached(labels, scores, higher) < asked


def test_screening_counted_by_hand() -> None:
    labels = np.repeat([1, 0], [20, 5])
    scores = np.r_[np.arange(1, 21) / 20, np.zeros(5)]
    assert screening_threshold(labels, scores) == 0.1  # 19 of 20 are at 0.1 or above
    assert screening_threshold(labels, scores, 1.0) == 0.05
    assert screening_threshold(labels, np.full(25, 0.3)) == 0.3


@settings(max_examples=40)
@given(drawn=samples())
def test_no_threshold_is_better_balanced(drawn: Samples) -> None:
    labels, scores = drawn
    threshold = balanced_threshold(labels, scores)
    best = balanced_accuracy_score(labels, scores >= threshold)
    for other in np.unique(scores):
        merit = balanced_accuracy_score(labels, scores >= other)
        assert merit <= best + 1e-9
        assert merit < best - 1e-9 or other >= threshold  # of several the lowest


@settings(max_examples=40)
@given(drawn=samples(), specificity=st.sampled_from([0.0, 0.3, 0.5, 0.8]))
def test_no_allowed_threshold_has_a_larger_f1(drawn: Samples, specificity: float) -> None:
    labels, scores = drawn
    allowed = [
        threshold
        for threshold in np.unique(scores)
        if (scores[labels == 0] < threshold).mean() >= specificity
    ]
    if not allowed:
        with pytest.raises(ValueError, match="a lower specificity, or other scores"):
            f1_threshold_with_specificity(labels, scores, specificity)
        return
    chosen = f1_threshold_with_specificity(labels, scores, specificity)
    assert chosen in allowed
    best = f1_score(labels, scores >= chosen)
    assert max(f1_score(labels, scores >= other) for other in allowed) <= best + 1e-9


@given(drawn=samples())
def test_band_lies_around_the_threshold(drawn: Samples) -> None:
    labels, scores = drawn
    groups = [str(index) for index in range(len(labels))]
    point = fit_operating_point(labels, scores, groups, 0.9)
    assert point.threshold == screening_threshold(labels, scores, 0.9)
    assert point.routine_below <= point.threshold <= point.refer_from
    # What is followed up is at least as sensitive as the threshold itself.
    followed_up = point.decide(scores[labels == 1]) != Decision.ROUTINE
    assert followed_up.mean() >= 0.9 - 1e-9


def test_band_is_that_of_the_quantile() -> None:
    """Against the closed interval of a quantile: order statistics by the binomial distribution."""
    generator = np.random.default_rng(0)
    labels = np.repeat([1, 0], [400, 60])
    scores = generator.random(460)
    point = fit_operating_point(labels, scores, [str(index) for index in range(460)])
    ascending = np.sort(scores[:400])
    half = 1.96 * np.sqrt(400 * 0.05 * 0.95)
    assert point.routine_below == pytest.approx(ascending[round(20 - half)], abs=0.015)
    assert point.refer_from == pytest.approx(ascending[round(20 + half)], abs=0.015)


def test_band_of_fewer_patients_is_wider() -> None:
    generator = np.random.default_rng(1)
    labels, scores = np.repeat([1, 0], [200, 40]), generator.random(240)
    alone = fit_operating_point(labels, scores, [str(index) for index in range(240)])
    scores_of_patients = np.sort(scores[:200]).tolist() + scores[200:].tolist()
    together = fit_operating_point(
        labels, np.array(scores_of_patients), [str(index // 8) for index in range(240)]
    )
    assert together.threshold == alone.threshold
    assert (together.refer_from - together.routine_below) > (alone.refer_from - alone.routine_below)


def test_decisions_at_the_very_limits() -> None:
    point = OperatingPoint(routine_below=0.2, refer_from=0.6, threshold=0.3)
    malignancy = np.array([[0.0, 0.1999, 0.2], [0.5999, 0.6, 1.0]])
    routine, uncertain, refer = Decision.ROUTINE, Decision.UNCERTAIN, Decision.REFER
    np.testing.assert_array_equal(
        point.decide(malignancy), [[routine, routine, uncertain], [uncertain, refer, refer]]
    )
    with pytest.raises(ValueError, match="1 of 2 malignancies are NaN"):
        point.decide(np.array([0.5, np.nan]))


@pytest.mark.parametrize("limits", [(0.5, 0.4, 0.45), (-0.1, 0.4, 0.2), (0.1, 1.2, 0.5)])
def test_limits_out_of_order_are_refused(limits: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="fit them by `fit_operating_point`"):
        OperatingPoint(*limits)


def test_one_class_has_no_threshold() -> None:
    labels, scores = np.ones(4, np.int64), np.linspace(0, 1, 4)
    for fit in (screening_threshold, balanced_threshold, f1_threshold_with_specificity):
        with pytest.raises(ValueError, match="has 0 benign and 4 malignant"):
            fit(labels, scores)
