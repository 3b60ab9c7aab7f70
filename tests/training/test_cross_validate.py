"""All folds in turn, and what the report is told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from small_recipes import write_recipe
from thyroid_training import cross_validate as module
from thyroid_training.cross_validate import cross_validate
from thyroid_training.dataset import Sample
from thyroid_training.fold_fits import FoldFits, Sets
from thyroid_training.protocol import FOLDS
from thyroid_training.recipe import read_recipe
from thyroid_training.stages import StartingWeights

NOTHING: Any = None


def test_every_fold_is_judged_once_and_the_protocol_counts_what_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ten patients with two images each, one of which has no grade.
    samples = [
        Sample(
            name=f"{patient}_{view}",
            group=f"{patient}",
            frame=NOTHING,
            mask=NOTHING,
            truth=NOTHING,
            geometry=NOTHING,
            label=patient % 2 if view else None,
        )
        for patient in range(10)
        for view in range(2)
    ]
    recipe = read_recipe(write_recipe(tmp_path / "small.toml"))
    fits = FoldFits(recipe, Sets(samples, []), tmp_path / "runs", StartingWeights())
    monkeypatch.setattr(module, "judge_fold", lambda fits, fold: (fits, fold))
    monkeypatch.setattr(module, "judge", lambda *arguments: arguments)
    judged: Any = cross_validate(fits)
    outcomes, judged_recipe, protocol = judged
    assert outcomes == [(fits, fold) for fold in range(FOLDS)]
    assert judged_recipe is recipe
    assert protocol["folds"] == FOLDS
    assert (protocol["images"], protocol["graded"], protocol["patients"]) == (20, 10, 10)
    assert protocol["recipe"]["segmentation"]["fit"]["epochs"] == 1
    assert protocol["recipe"]["forest"]["trees"] == 4
    assert not (tmp_path / "runs").exists()
    assert np.isfinite(protocol["recipe"]["augment"]["rotation_deg"])
