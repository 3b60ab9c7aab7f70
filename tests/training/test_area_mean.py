"""The mean over areas in the graph, against OpenCV's and against whole pixels counted."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thyroid_pipeline import contract
from thyroid_training.area_mean import AreaMean

FRAME = contract.FRAME_SIDE_PX


@pytest.mark.parametrize("side", [112, 128, 160, 192, 208, 224, 256, 336, 432, 448])
def test_it_is_opencvs_area_interpolation(side: int) -> None:
    frames = np.random.default_rng(side).uniform(0, 255, (2, FRAME, FRAME)).astype(np.float32)
    got = AreaMean(FRAME, side)(torch.from_numpy(frames)[:, None])
    assert got.shape == (2, 1, side, side)
    for frame, small in zip(frames, got[:, 0].numpy(), strict=True):
        wanted = cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(small, wanted, atol=0.01)


@given(side=st.integers(1, 24), wanted=st.integers(1, 24), seed=st.integers(0, 99))
def test_it_is_the_mean_of_the_pixels_repeated(side: int, wanted: int, seed: int) -> None:
    """Each pixel repeated as often as the new side has pixels: then every area is whole."""
    if wanted > side:
        side, wanted = wanted, side
    picture = np.random.default_rng(seed).uniform(0, 1, (side, side))
    repeated = np.kron(picture, np.ones((wanted, wanted)))
    means = repeated.reshape(wanted, side, wanted, side).mean(axis=(1, 3))
    got = AreaMean(side, wanted)(torch.from_numpy(picture).float()[None, None])
    np.testing.assert_allclose(got[0, 0].numpy(), means, atol=1e-5)


@pytest.mark.parametrize("side", [0, -1, FRAME + 1])
def test_a_side_that_no_mean_gives_is_refused(side: int) -> None:
    with pytest.raises(ValueError, match=rf"a side of {side} px came, .*from 1 to {FRAME} was"):
        AreaMean(FRAME, side)


def test_it_brings_nothing_into_a_checkpoint() -> None:
    assert not AreaMean(FRAME, 192).state_dict()
