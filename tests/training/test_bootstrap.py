"""Intervals over patients, against the closed formula and in closed cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from thyroid_training.bootstrap import (
    FigureFunction,
    Interval,
    Weights,
    group_intervals,
    percentile_bounds,
    resample_weights,
    weighted_mean,
)

Figures = dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]


def mean_of(values: list[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> FigureFunction:
    array = np.asarray(values, np.float64)
    return lambda weights: {"mean": weighted_mean(array, weights)}


def test_mean_of_single_images_has_the_closed_interval() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    groups = [str(index) for index in range(400)]
    found = group_intervals(groups, mean_of(values))["mean"]
    half = stats.norm.ppf(0.975) * values.std() / math.sqrt(400)
    assert found.estimate == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.06 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.06 * half)


def test_patients_are_resampled_not_images() -> None:
    """Copies of a patient's image add nothing: the interval is that of the patients alone."""
    values = np.random.default_rng(1).normal(size=150)
    patients = [str(index) for index in range(150)]
    once = group_intervals(patients, mean_of(values))["mean"]
    copied = group_intervals(
        [patient for patient in patients for _ in range(4)], mean_of(np.repeat(values, 4))
    )["mean"]
    assert copied.estimate == pytest.approx(once.estimate)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    as_if_alone = group_intervals([str(index) for index in range(600)], mean_of(values.repeat(4)))
    width = as_if_alone["mean"].high - as_if_alone["mean"].low
    assert width == pytest.approx((once.high - once.low) / 2, rel=0.1)


def test_strata_keep_their_size() -> None:
    groups = ["a", "a", "b", "c", "d", "e"]
    classes = [0, 0, 0, 1, 1, 1]
    weights = resample_weights(groups, classes, resamples=300, seed=3)
    assert (weights[:, 0] == weights[:, 1]).all()
    np.testing.assert_array_equal(weights[:, 1:3].sum(axis=1), 2)
    np.testing.assert_array_equal(weights[:, 3:].sum(axis=1), 3)
    loose = resample_weights(groups, resamples=300, seed=3)
    assert np.ptp(loose[:, 1:3].sum(axis=1)) > 0
    np.testing.assert_array_equal(loose[:, 1:].sum(axis=1), 5)


@given(
    patients=st.lists(st.integers(0, 6), min_size=2, max_size=25),
    data=st.data(),
    seed=st.integers(0, 99),
)
def test_no_class_is_ever_missing(patients: list[int], data: st.DataObject, seed: int) -> None:
    classes = data.draw(st.lists(st.integers(0, 1), min_size=len(patients), max_size=len(patients)))
    groups = [str(patient) for patient in patients]
    weights = resample_weights(groups, classes, resamples=50, seed=seed)
    for kind in set(classes):
        assert (weights @ (np.array(classes) == kind) > 0).all()
    for patient in set(groups):
        inside = [group == patient for group in groups]
        assert np.ptp(weights[:, inside], axis=1).max() == 0


def test_the_same_seed_gives_the_same_resamples() -> None:
    groups = [str(index % 7) for index in range(30)]
    one, same, other = (resample_weights(groups, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_what_does_not_vary_has_no_width() -> None:
    found = group_intervals(["a", "b", "c"], mean_of([0.25, 0.25, 0.25]))["mean"]
    assert found == Interval(0.25, 0.25, 0.25)


def test_images_without_a_value_are_left_out() -> None:
    values = np.array([1.0, math.nan, 3.0])
    np.testing.assert_allclose(
        weighted_mean(values, np.array([[1.0, 5.0, 1.0], [3.0, 0.0, 1.0]])), [2.0, 1.5]
    )
    assert math.isnan(weighted_mean(values, np.array([[0.0, 1.0, 0.0]]))[0])
    found = group_intervals(["a", "b", "c"], mean_of(values))["mean"]
    assert (found.estimate, found.low, found.high) == (2.0, 1.0, 3.0)


def test_a_figure_that_is_never_defined_is_nan() -> None:
    found = group_intervals(["a", "b"], mean_of([math.nan, math.nan]))["mean"]
    assert all(math.isnan(value) for value in (found.estimate, found.low, found.high))


def test_level_is_the_share_between_the_bounds() -> None:
    assert percentile_bounds(np.arange(101.0), 0.9) == pytest.approx((5, 95))

    def figures(weights: Weights) -> Figures:
        return {"mean": weighted_mean(np.arange(50.0), weights)}

    groups = [str(index) for index in range(50)]
    wide, narrow = (group_intervals(groups, figures, level=level)["mean"] for level in (0.95, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(("groups", "classes"), [([], None), (["a", "b"], [1])])
def test_samples_without_group_or_class_are_refused(
    groups: list[str], classes: list[int] | None
) -> None:
    with pytest.raises(ValueError, match="for each of at least one sample was wanted"):
        resample_weights(groups, classes)
