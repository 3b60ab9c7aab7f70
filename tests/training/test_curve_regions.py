"""Regions of other sides, and what the linear layer makes of them out of fold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from small_recipes import make_small, write_recipe
from small_sets import write_sets
from thyroid_pipeline import contract
from thyroid_pipeline.roi import cut_roi
from thyroid_training.curve_regions import _out_of_fold_logits, judge_regions
from thyroid_training.fit_classification import largest_box
from thyroid_training.fold_fits import FoldFits, Sets, read_sets
from thyroid_training.protocol import FOLDS
from thyroid_training.recipe import read_recipe
from thyroid_training.resnet18 import ResNet18
from thyroid_training.stages import StartingWeights

SHIPPED = contract.ROI_SIDE_PX
MARGIN = contract.CropperParameters().margin_share


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_small(monkeypatch)
        yield


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    return read_sets(write_sets(tmp_path_factory.mktemp("data")))


@pytest.fixture
def fits(sets: Sets, tmp_path: Path) -> FoldFits:
    recipe = read_recipe(write_recipe(tmp_path / "small.toml"))
    return FoldFits(recipe, sets, tmp_path / "runs", StartingWeights())


@pytest.mark.parametrize("side", [128, 192, 224, 256])
def test_another_side_shows_the_same_square(sets: Sets, side: int) -> None:
    """A ramp over the frame: its values at the region's ends do not depend on the side."""
    sample = sets.ddti[0]
    ramp = np.tile(
        np.linspace(0, 255, contract.FRAME_SIDE_PX).astype(np.uint8), (contract.FRAME_SIDE_PX, 1)
    )
    x, y, width, height = largest_box(sample.truth)
    inner = (x + width // 3, y + height // 3, width // 3, height // 3)  # within the frame
    wanted = cut_roi(ramp, inner, sample.geometry, 0.0).astype(np.float64)
    got = cut_roi(ramp, inner, sample.geometry, 0.0, side)
    assert got.shape == (side, side)
    at = (np.arange(side) + 0.5) / side * contract.ROI_SIDE_PX - 0.5
    expected = np.interp(at, np.arange(contract.ROI_SIDE_PX), wanted[0])
    assert np.abs(got[0] - expected).max() <= 1.0  # of rounding to whole grey values
    assert np.ptp(wanted[0]) > 5


def test_no_fold_has_a_say_in_its_own_logits() -> None:
    """Against scikit-learn's pipeline, fitted on the other folds and their mirror images."""
    generator = np.random.default_rng(0)
    folds = np.arange(40) % FOLDS
    labels = generator.integers(0, 2, 40)
    plain = generator.normal(0, 1, (40, 3)) + labels[:, None]
    mirrored = plain + generator.normal(0, 0.1, plain.shape)
    got = _out_of_fold_logits(plain, mirrored, labels, folds, 0.05)
    for fold in range(FOLDS):
        others = folds != fold
        reference = make_pipeline(
            StandardScaler(), LogisticRegression(C=0.05, class_weight="balanced")
        ).fit(np.concatenate([plain[others], mirrored[others]]), np.tile(labels[others], 2))
        wanted = reference.decision_function(plain[~others])
        np.testing.assert_allclose(got[~others], wanted, atol=1e-6)
        spoilt = np.where(others, labels, 1 - labels)
        again = _out_of_fold_logits(plain, mirrored, spoilt, folds, 0.05)
        np.testing.assert_array_equal(again[~others], got[~others])


def test_sides_are_judged_on_all_graded_images(fits: FoldFits, sets: Sets) -> None:
    torch.manual_seed(0)
    rows: dict[int, Any] = {
        row["side_px"]: row for row in judge_regions(fits, ResNet18().eval(), (64, SHIPPED))
    }
    graded = [sample for sample in sets.ddti if sample.label is not None]
    assert {row["images"] for row in rows.values()} == {len(graded)}
    assert [rows[side]["shipped"] for side in (64, SHIPPED)] == [False, True]
    assert rows[SHIPPED]["auroc_less_shipped"].estimate == 0
    difference = rows[64]["auroc"].estimate - rows[SHIPPED]["auroc"].estimate
    assert rows[64]["auroc_less_shipped"].estimate == pytest.approx(difference)
    for row in rows.values():
        assert 0 <= row["auroc"].low <= row["auroc"].estimate <= row["auroc"].high <= 1


def test_stages_that_see_the_grade_rank_every_image_right(fits: FoldFits) -> None:
    """A bright nodule is benign and a black one malignant here: the mean alone tells them apart."""

    class Brightness(ResNet18):
        def features(self, x: torch.Tensor) -> torch.Tensor:
            middle = x[:, :, x.shape[2] // 3 : -x.shape[2] // 3, x.shape[3] // 3 : -x.shape[3] // 3]
            return middle.mean(dim=(2, 3), keepdim=True)

    (row,) = judge_regions(fits, Brightness().eval(), (SHIPPED,))
    assert row["auroc"].estimate == 1.0


def test_the_shipped_side_is_wanted_to_compare_with(fits: FoldFits) -> None:
    with pytest.raises(ValueError, match=rf"sides of 64, 96 px came; {SHIPPED}, the shipped"):
        judge_regions(fits, ResNet18().eval(), (64, 96))
