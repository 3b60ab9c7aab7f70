"""Figures of the out-of-distribution gate, in closed cases and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from thyroid_pipeline import contract
from thyroid_training.bootstrap import Interval
from thyroid_training.ood_figures import (
    OodScores,
    flagged_interval,
    ood_auroc_interval,
    ood_intervals,
)


def pictures(name: str, *rows: list[float]) -> OodScores:
    return OodScores(name, tuple(str(index) for index in range(len(rows[0]))), np.array(rows))


def test_parted_sets() -> None:
    inside, foreign = pictures("in", [0.1, 0.2, 0.9]), pictures("out", [1.5, 2.0])
    area = ood_auroc_interval(inside, foreign)
    assert (area.estimate, area.low, area.high) == (1, 1, 1)
    assert ood_auroc_interval(foreign, inside).estimate == 0
    assert ood_auroc_interval(inside, inside).estimate == 0.5


def test_area_is_scikit_learns_averaged_over_seeds() -> None:
    generator = np.random.default_rng(0)
    inside = OodScores("in", tuple("aabbccddee"), generator.random((3, 10)))
    foreign = OodScores("out", tuple("abcdef"), generator.random((3, 6)) + 0.3)
    wanted = np.mean(
        [
            roc_auc_score(np.repeat([0, 1], [10, 6]), np.r_[own, other])
            for own, other in zip(inside.scores, foreign.scores, strict=True)
        ]
    )
    area = ood_auroc_interval(inside, foreign)
    assert area.estimate == pytest.approx(wanted)
    assert area.low < wanted < area.high


def test_the_limit_itself_is_not_flagged() -> None:
    limit = contract.OOD_LIMIT
    share = flagged_interval(pictures("x", [limit, np.nextafter(limit, 2), 0.0, 5.0]))
    assert share.estimate == 0.5
    seeds = pictures("x", [limit + 1, 0.0, 0.0, 0.0], [limit + 1] * 4)
    assert flagged_interval(seeds).estimate == pytest.approx((0.25 + 1) / 2)


def test_rows_of_all_sets() -> None:
    inside = pictures("DDTI", [0.1, 0.2, 1.2, 0.3])
    rows = ood_intervals(inside, [pictures("noise", [3.0, 4.0])])
    assert [(row.name, row.pictures) for row in rows] == [("DDTI", 4), ("noise", 2)]
    assert rows[0].flagged_share.estimate == 0.25  # false flags
    assert rows[1].flagged_share.estimate == 1
    assert rows[0].auroc is None
    assert rows[1].auroc == Interval(1, 1, 1)


def test_uneven_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="the same seeds were wanted"):
        ood_auroc_interval(pictures("in", [0.1]), pictures("out", [0.1], [0.2]))
    with pytest.raises(ValueError, match="1 of them NaN"):
        pictures("in", [0.1, np.nan])
    with pytest.raises(ValueError, match="for N pictures"):
        OodScores("in", ("a",), np.zeros((1, 2)))
