"""The Random Forest: what it learns, what it ignores, and where a figure is missing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from thyroid_pipeline import contract
from thyroid_training.forest import (
    SHAPE_AND_ECHO_FIELDS,
    SHAPE_FIELDS,
    ForestConfig,
    field_importances,
    fit_forest,
    forest_malignancy,
)

SMALL = ForestConfig(trees=20, seed=1)
TELLING = "solidity"


def column(field: str) -> int:
    return contract.MORPHOLOGY_FIELDS.index(field)


def labels_of(count: int) -> Any:
    """One benign in four."""
    return np.where(np.arange(count) % 4 == 0, 0, 1)


def table(count: int, seed: int, gap: float) -> tuple[Any, Any]:
    """Rows of noise in which one figure of malignant nodules is higher by so many deviations."""
    labels = labels_of(count)
    rows = np.random.default_rng(seed).normal(size=(count, 18)).astype(np.float32)
    rows[:, column(TELLING)] += gap * labels
    return rows, labels


def test_separable_grades_are_told_apart() -> None:
    forest = fit_forest(*table(200, seed=0, gap=50.0), SMALL)
    rows, labels = table(200, seed=1, gap=50.0)
    answers = forest_malignancy(forest, rows)
    assert answers.dtype == np.float64
    assert answers.shape == (200,)
    assert roc_auc_score(labels, answers) == 1.0
    assert ((answers >= 0.5) == labels).all()


def test_noise_teaches_nothing() -> None:
    forest = fit_forest(*table(400, seed=0, gap=0.0), SMALL)
    rows, labels = table(2000, seed=1, gap=0.0)
    # Six deviations of an AUROC without meaning, by the variance of the Mann-Whitney statistic.
    deviation = np.sqrt((2000 + 1) / (12 * 500 * 1500))
    assert abs(roc_auc_score(labels, forest_malignancy(forest, rows)) - 0.5) < 6 * deviation


def test_both_grades_weigh_alike() -> None:
    """Without balance the common grade would win everywhere that nothing tells them apart."""
    rows, labels = table(400, seed=0, gap=0.0)
    fresh, _ = table(400, seed=1, gap=0.0)
    fair = forest_malignancy(fit_forest(rows, labels, SMALL), fresh).mean()
    lopsided = forest_malignancy(
        fit_forest(rows, labels, dataclasses.replace(SMALL, balanced=False)), fresh
    ).mean()
    assert lopsided == pytest.approx(0.75, abs=0.05)
    assert fair == pytest.approx(0.5, abs=0.1)


def test_the_seed_decides() -> None:
    rows, labels = table(200, seed=0, gap=1.0)
    fresh, _ = table(50, seed=1, gap=1.0)
    first, again, other = (
        forest_malignancy(fit_forest(rows, labels, dataclasses.replace(SMALL, seed=seed)), fresh)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("fields", [SHAPE_FIELDS, SHAPE_AND_ECHO_FIELDS, ("area_px2",)])
def test_only_the_fields_count(fields: tuple[str, ...]) -> None:
    config = dataclasses.replace(SMALL, fields=fields)
    rows, labels = table(200, seed=0, gap=1.0)
    forest = fit_forest(rows, labels, config)
    fresh, _ = table(50, seed=1, gap=1.0)
    before = forest_malignancy(forest, fresh)
    others = [i for i, name in enumerate(contract.MORPHOLOGY_FIELDS) if name not in fields]
    changed = fresh.copy()
    changed[:, others] = np.nan
    assert np.array_equal(forest_malignancy(forest, changed), before)
    for name in fields:
        assert config.columns[fields.index(name)] == column(name)


def test_fields_are_free_of_scale_and_named_once() -> None:
    assert not [name for name in SHAPE_AND_ECHO_FIELDS if name.endswith(("_px", "_px2"))]
    assert set(SHAPE_FIELDS) < set(SHAPE_AND_ECHO_FIELDS)
    named = [name for name in contract.MORPHOLOGY_FIELDS if not name.endswith(("_px", "_px2"))]
    assert list(SHAPE_AND_ECHO_FIELDS) == named


# --- figures that could not be measured


def test_a_missing_figure_counts_as_the_median() -> None:
    rows, labels = table(201, seed=0, gap=2.0)
    rows[::7, column("posterior_ratio")] = np.nan
    forest = fit_forest(rows, labels, SMALL)
    fresh, _ = table(40, seed=1, gap=2.0)
    without, filled = fresh.copy(), fresh.copy()
    for name in ("posterior_ratio", TELLING):
        without[:, column(name)] = np.nan
        filled[:, column(name)] = np.nanmedian(rows[:, column(name)])
    assert np.array_equal(forest_malignancy(forest, without), forest_malignancy(forest, filled))


def test_a_figure_that_no_row_has_is_no_obstacle() -> None:
    rows, labels = table(100, seed=0, gap=50.0)
    rows[:, column("posterior_ratio")] = np.nan
    forest = fit_forest(rows, labels, SMALL)
    answers = forest_malignancy(forest, table(40, seed=1, gap=50.0)[0])
    assert ((answers >= 0.5) == labels_of(40)).all()


def test_a_row_without_any_figure_has_no_answer() -> None:
    forest = fit_forest(*table(100, seed=0, gap=2.0), SMALL)
    rows, _ = table(4, seed=1, gap=2.0)
    rows[1] = np.nan
    rows[2, forest.config.columns] = np.nan  # it holds figures, but none that the forest sees
    assert np.isnan(forest_malignancy(forest, rows)).tolist() == [False, True, True, False]
    assert np.isnan(forest_malignancy(forest, rows[1:3])).all()
    assert forest_malignancy(forest, rows[:0]).shape == (0,)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), missing=st.floats(0, 0.9))
def test_answers_are_shares(seed: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    rows, labels = table(40, seed, gap=1.0)
    rows[rng.random(rows.shape) < missing] = np.nan
    rows[:, column("extent")] = 1.0
    forest = fit_forest(rows, labels, dataclasses.replace(SMALL, trees=3))
    answers = forest_malignancy(forest, rows * np.float32(1e6))
    assert ((answers >= 0) & (answers <= 1)).all()


# --- importances


def test_the_telling_figure_is_found() -> None:
    forest = fit_forest(*table(400, seed=0, gap=2.0), SMALL)
    entries = field_importances(forest, *table(400, seed=1, gap=2.0))
    assert sorted(entry.field for entry in entries) == sorted(SHAPE_AND_ECHO_FIELDS)
    first, *others = entries
    assert first.field == TELLING
    assert first.permutation > 0.2 > 10 * max(abs(entry.permutation) for entry in others)
    assert first.impurity > max(entry.impurity for entry in others)
    assert sum(entry.impurity for entry in entries) == pytest.approx(1.0)
    assert all(entry.permutation_deviation >= 0 for entry in entries)
    costs = [entry.permutation for entry in entries]
    assert costs == sorted(costs, reverse=True)


def test_shuffling_the_only_figure_leaves_chance() -> None:
    config = dataclasses.replace(SMALL, fields=(TELLING,))
    forest = fit_forest(*table(400, seed=0, gap=50.0), config)
    (entry,) = field_importances(forest, *table(400, seed=1, gap=50.0))
    assert entry.permutation == pytest.approx(0.5, abs=0.1)  # from 1 to one half
    assert entry.impurity == 1.0


# --- what is refused


@pytest.mark.parametrize(
    ("fields", "named"),
    [((), "none"), (("area",), "area"), (("extent", "extent"), "extent, extent")],
)
def test_fields_that_are_none_are_refused(fields: tuple[str, ...], named: str) -> None:
    with pytest.raises(ValueError, match=rf"`fields` are {named}; .* correct the names"):
        ForestConfig(fields=fields)


def test_what_does_not_belong_together_is_refused() -> None:
    rows, labels = table(40, seed=0, gap=1.0)
    with pytest.raises(ValueError, match=r"shape \[39\] came with 40 rows .* same nodules"):
        fit_forest(rows, labels[1:], SMALL)
    with pytest.raises(ValueError, match=r"shape \[40, 17\] came; \[N, 18\] was wanted"):
        fit_forest(rows[:, 1:], labels, SMALL)
    with pytest.raises(ValueError, match=r"shape \[18\] came; \[N, 18\] was wanted"):
        forest_malignancy(fit_forest(rows, labels, SMALL), rows[0])
    rows[3] = np.nan
    with pytest.raises(ValueError, match=r"1 of 40 rows hold no figure .* leave out the images"):
        fit_forest(rows, labels, SMALL)


def test_one_grade_alone_is_refused() -> None:
    rows, labels = table(40, seed=0, gap=1.0)
    with pytest.raises(ValueError, match="at least one"):
        fit_forest(rows, np.ones_like(labels), SMALL)
    forest = fit_forest(rows, labels, SMALL)
    with pytest.raises(ValueError, match="at least one"):
        field_importances(forest, rows, np.zeros_like(labels))
