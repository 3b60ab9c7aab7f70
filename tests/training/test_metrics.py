"""Dice in closed cases and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score

from thyroid_training.metrics import dice

EMPTY = np.zeros((4, 6), np.bool_)
LEFT, RIGHT, UPPER = EMPTY.copy(), EMPTY.copy(), EMPTY.copy()
LEFT[:, :3] = RIGHT[:, 3:] = UPPER[:2] = True


@pytest.mark.parametrize(
    ("predicted", "truth", "wanted"),
    [
        (LEFT, LEFT, 1.0),
        (LEFT, RIGHT, 0.0),
        (LEFT, UPPER, 0.5),
        (LEFT | RIGHT, LEFT, 2 / 3),
        (EMPTY, EMPTY, 1.0),
        (EMPTY, LEFT, 0.0),
        (LEFT, EMPTY, 0.0),
    ],
)
def test_closed_cases(
    predicted: np.ndarray[tuple[int, int], np.dtype[np.bool_]],
    truth: np.ndarray[tuple[int, int], np.dtype[np.bool_]],
    wanted: float,
) -> None:
    assert dice(predicted, truth) == pytest.approx(wanted)


@given(pair=arrays(np.bool_, (2, 5, 7)), swap=st.booleans())
def test_is_the_f1_of_pixels(
    pair: np.ndarray[tuple[int, int, int], np.dtype[np.bool_]], swap: bool
) -> None:
    predicted, truth = pair[::-1] if swap else pair
    wanted = f1_score(truth.ravel(), predicted.ravel(), zero_division=1.0)
    assert dice(predicted, truth) == pytest.approx(wanted)
