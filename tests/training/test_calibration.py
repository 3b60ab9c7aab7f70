"""Platt scaling recovers what made the labels, and keeps the order of the answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from thyroid_training.calibration import MINIMUM_SCALE, Calibration, fit_calibration
from thyroid_training.weighted_metrics import calibration_error


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (0.4, 1.5), (2.5, -0.8)])
def test_recovers_known_scale_and_offset(scale: float, offset: float) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 1.5, 40_000)
    odds = 1 / (1 + np.exp(-(scale * logits + offset)))
    labels = (generator.random(40_000) < odds).astype(np.int64)
    found = fit_calibration(logits, labels)
    assert found.scale == pytest.approx(scale, rel=0.05)
    assert found.offset == pytest.approx(offset, abs=0.05)
    calibrated = found.apply(logits)
    np.testing.assert_allclose(calibrated, odds, atol=0.02)
    ones = np.ones((1, 40_000))
    assert calibration_error(labels, calibrated, ones)[0] < 0.01


def test_is_the_maximum_of_platts_likelihood() -> None:
    """Against SciPy's minimiser on the likelihood as Platt wrote it."""
    generator = np.random.default_rng(1)
    labels = np.repeat([1, 0], [50, 12])
    logits = generator.normal(labels, 1.3)
    weights = generator.random(62) + 0.5
    targets = np.where(labels == 1, 51 / 52, 1 / 14)

    def loss(parameters: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        z = parameters[0] * logits + parameters[1]
        return float(weights @ (np.logaddexp(0, z) - targets * z))

    best = minimize(loss, [1.0, 0.0], tol=1e-12).x
    found = fit_calibration(logits, labels, weights)
    assert (found.scale, found.offset) == pytest.approx(tuple(best), rel=1e-3)


def test_weights_are_copies() -> None:
    generator = np.random.default_rng(2)
    labels = np.arange(40) % 2
    logits = generator.normal(labels, 1.0)
    doubled = fit_calibration(logits, labels, np.full(40, 2.0))
    once = fit_calibration(logits, labels)
    assert (doubled.scale, doubled.offset) == pytest.approx((once.scale, once.offset), rel=1e-4)


def test_parted_classes_keep_a_finite_scale() -> None:
    labels = np.repeat([0, 1], [10, 30])
    found = fit_calibration(np.where(labels == 1, 2.0, -2.0), labels)
    assert found.apply(np.array([2.0, -2.0])) == pytest.approx([31 / 32, 1 / 12], abs=1e-3)


def test_logits_that_rank_backwards_keep_the_order_and_give_the_prevalence() -> None:
    labels = np.repeat([0, 1], [100, 500])
    logits = np.random.default_rng(3).normal(3 - 2 * labels, 1.0)
    found = fit_calibration(logits, labels)
    assert found.scale == MINIMUM_SCALE
    answers = found.apply(logits)
    assert (np.diff(answers[np.argsort(logits)]) > 0).all()
    np.testing.assert_allclose(answers, 5 / 6, atol=0.01)


def test_applied_in_closed_cases() -> None:
    calibration = Calibration(scale=2.0, offset=-1.0)
    with np.errstate(all="raise"):
        found = calibration.apply(np.array([0.5, 1e4, -1e4, np.nan]))
    np.testing.assert_allclose(found[:3], [0.5, 1.0, 0.0])
    assert np.isnan(found[3])
    assert calibration.apply(np.array([1.0]))[0] == pytest.approx(1 / (1 + np.exp(-1)))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_that_turns_the_order_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="so that the order of the answers stays"):
        Calibration(scale, 0.0)


def test_what_cannot_be_fitted_on_is_refused() -> None:
    with pytest.raises(ValueError, match="has 0 benign and 3 malignant"):
        fit_calibration(np.zeros(3), np.ones(3, np.int64))
    with pytest.raises(ValueError, match="1 of 2 logits are not finite"):
        fit_calibration(np.array([0.0, np.nan]), np.array([0, 1]))
