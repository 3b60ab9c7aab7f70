"""Recipes of one epoch, networks of a few thousand weights and sets of a few phantoms."""

from __future__ import annotations

from pathlib import Path

import pytest

from miniatures import TINY_COMPACT
from thyroid_training import fold_outcome, resnet18
from thyroid_training.protocol import FOLDS
from thyroid_training.transunet_config import SIZES

SMALL_RECIPE = """
size = "compact"
classification_seeds = [0]

# Averaged over few steps: a network that is as it was drawn hardly answers differently to anything.
[pretraining]
phantoms = 2
fit = { epochs = 6, batch_size = 4, learning_rate = 1e-3, average_decay = 0.5 }

[segmentation]
phantoms = 1
fit = { epochs = 1, batch_size = 4, learning_rate = 1e-3, average_decay = 0.5 }

[classification_pretraining]
fit = { epochs = 1, batch_size = 4 }

[classification]
inverse_regularisation = 0.1

[augment]

[forest]
trees = 4
min_samples_leaf = 1
fields = ["circularity", "echo_ratio"]
"""


def write_recipe(path: Path, text: str = SMALL_RECIPE) -> Path:
    """Write a recipe, for `--recipe`."""
    path.write_text(text, encoding="utf-8")
    return path


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let networks be tiny, and what they are judged on beside the sets be few frames."""
    monkeypatch.setitem(SIZES, "compact", TINY_COMPACT)
    monkeypatch.setattr(resnet18, "_STAGE_WIDTHS", (8, 8, 8, 8))
    monkeypatch.setattr(fold_outcome, "_JUDGED_PHANTOMS", 2 * FOLDS)
    monkeypatch.setattr(fold_outcome, "_GATE_PHANTOMS", 4)
    monkeypatch.setattr(fold_outcome, "_MADE_FRAMES", FOLDS)
