"""A recipe of single steps, and what stands in the place of its fits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from thyroid_training.fit import FitConfig
from thyroid_training.recipe import (
    ClassificationPretraining,
    LinearLayer,
    Recipe,
    SegmentationStage,
)
from thyroid_training.stages import (
    StartingWeights,
)

NOTHING = StartingWeights()
ONE_STEP = FitConfig(epochs=1, batch_size=2)
PRETRAINING = SegmentationStage(dataclasses.replace(ONE_STEP, seed=6), phantoms=2)
RECIPE = Recipe(
    pretraining=PRETRAINING,
    segmentation=SegmentationStage(dataclasses.replace(ONE_STEP, seed=5), phantoms=1),
    classification_pretraining=ClassificationPretraining(ONE_STEP),
    classification=LinearLayer(0.5),
)

State = dict[str, Tensor]


class Fits:
    """In a fit's place: remembers how it was called, and leaves a mark in the network."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.begun: list[State] = []

    def __call__(self, network: nn.Module, *arguments: Any, state_file: Path) -> nn.Module:
        self.calls.append((*arguments, state_file))
        self.begun.append({name: v.clone() for name, v in network.state_dict().items()})
        with torch.no_grad():
            next(network.parameters()).fill_(len(self.calls))
        return network.eval()


def same(first: nn.Module, second: nn.Module | State) -> bool:
    other = second.state_dict() if isinstance(second, nn.Module) else second
    return all(torch.equal(other[name], value) for name, value in first.state_dict().items())


def changed(recipe: Recipe, stage: str, **fields: Any) -> Recipe:
    """Another way of fitting one stage."""
    before = getattr(recipe, stage)
    after = dataclasses.replace(before, fit=dataclasses.replace(before.fit, **fields))
    return dataclasses.replace(recipe, **{stage: after})
