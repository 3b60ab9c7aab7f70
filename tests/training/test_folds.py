"""Splitting into folds so that no patient is on both sides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from thyroid_pipeline.letterbox import Geometry
from thyroid_training.dataset import Sample, split_folds

GEOMETRY = Geometry(64, 64, 0, 0, 64, 64, 0, 0, 448, 448)


def sample(name: str, group: str, label: int | None) -> Sample:
    empty = np.zeros((2, 2), np.bool_)
    return Sample(name, group, empty.astype(np.uint8), empty, empty, GEOMETRY, label)


@settings(max_examples=60, deadline=None)
@given(
    members=st.lists(
        st.tuples(st.integers(0, 24), st.sampled_from([0, 1, 1, 1, None])),
        min_size=40,
        max_size=120,
    ),
    seed=st.integers(0, 3),
)
def test_folds_share_no_group_and_hold_each_sample_once(
    members: list[tuple[int, int | None]], seed: int
) -> None:
    samples = [sample(str(n), f"case {group}", label) for n, (group, label) in enumerate(members)]
    assume(len({group for group, _ in members}) >= 5)
    folds = split_folds(samples, seed=seed)
    assert len(folds) == 5
    assert sorted(index for fold in folds for index in fold) == list(range(len(samples)))
    groups = [{samples[index].group for index in fold} for fold in folds]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert folds == split_folds(samples, seed=seed)


def test_folds_hold_both_classes_in_like_shares() -> None:
    samples = [sample(str(n), f"case {n // 2}", int(n % 12 > 1)) for n in range(240)]
    for fold in split_folds(samples):
        assert 40 <= len(fold) <= 56
        benign = sum(samples[index].label == 0 for index in fold)
        assert 6 <= benign <= 10  # a sixth, as in the whole


def test_another_seed_gives_other_folds() -> None:
    samples = [sample(str(n), f"case {n}", n % 2) for n in range(50)]
    assert split_folds(samples, seed=0) != split_folds(samples, seed=1)


def test_a_class_rarer_than_the_folds_is_no_fault() -> None:
    samples = [sample(str(n), f"case {n}", int(n > 1)) for n in range(20)]
    folds = split_folds(samples)
    assert sorted(index for fold in folds for index in fold) == list(range(20))


@pytest.mark.parametrize(
    "samples",
    [
        [sample(str(n), "one patient", 1) for n in range(30)],
        [sample(str(n), f"case {n}", label) for n, label in enumerate((0, 1, None, 0, 1, None))],
    ],
)
def test_too_few_for_the_folds_is_told(samples: list[Sample]) -> None:
    with pytest.raises(ValueError, match=r"cannot be split into 5 folds; .* give more samples"):
        split_folds(samples)
