"""The fits of ResNet-18: none is done twice, none goes on from another recipe's."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from stage_fits import NOTHING, RECIPE, Fits, same
from thyroid_training import stages as module
from thyroid_training.dataset import Sample
from thyroid_training.fit_classification import outlined_nodules
from thyroid_training.recipe import (
    LinearLayer,
    Recipe,
)
from thyroid_training.resnet18 import ResNet18
from thyroid_training.runs import RunError
from thyroid_training.stages import (
    pretrain_classification,
    train_classification,
)


@pytest.fixture
def classifications(monkeypatch: pytest.MonkeyPatch) -> Fits:
    fits = Fits()
    monkeypatch.setattr(module, "fit_classification", fits)
    return fits


def test_classifier_is_pretrained_on_what_has_a_class_with_a_seed_of_its_own(
    lesions: list[Sample], tmp_path: Path, classifications: Fits
) -> None:
    healthy = dataclasses.replace(lesions[0], label=None, mask=np.zeros_like(lesions[0].mask))

    def pretrain(seed: int, folder: str = "run") -> ResNet18:
        return pretrain_classification(
            RECIPE, [*lesions, healthy], tmp_path / folder, NOTHING, seed=seed
        )

    network = pretrain(seed=8)
    ((nodules, config, *_),) = classifications.calls
    assert [nodule.sample.label for nodule in nodules] == [0, 1]
    assert config == dataclasses.replace(RECIPE.classification_pretraining.fit, seed=8)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["data"] == {"busi_lesions": 2}
    assert record["initial"] is None
    assert record["teacher"] == "EfficientNet-Lite0, ImageNet"
    torch.manual_seed(8)
    assert same(ResNet18(), classifications.begun[0])
    assert same(pretrain(seed=8), network)
    assert len(classifications.calls) == 1
    with pytest.raises(RunError, match="differs in fit"):
        pretrain(seed=9)
    pretrain(seed=9, folder="other")
    assert len(classifications.calls) == 2


def test_linear_layer_is_fitted_on_the_pretrained_and_leaves_it(
    lesions: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def fit(network: ResNet18, nodules: Any, inverse_regularisation: float) -> ResNet18:
        asked.append(inverse_regularisation)
        with torch.no_grad():
            network.fc.weight.fill_(len(asked))
        return network.eval()

    monkeypatch.setattr(module, "fit_linear_layer", fit)
    torch.manual_seed(4)
    pretrained, nodules = ResNet18(), outlined_nodules(lesions)
    before = {name: value.clone() for name, value in pretrained.state_dict().items()}

    def train(seed: int, recipe: Recipe = RECIPE) -> ResNet18:
        return train_classification(
            recipe,
            lambda: nodules,
            pretrained,
            tmp_path,
            {"ddti_graded": 2},
            weights=NOTHING,
            seed=seed,
        )

    fitted = train(seed=8)
    assert asked == [0.5]
    assert same(pretrained, before)
    assert (fitted.fc.weight == 1).all()
    assert all(
        torch.equal(value, before[name])
        for name, value in fitted.state_dict().items()
        if name != "fc.weight"
    )
    assert same(train(seed=8), fitted)
    assert len(asked) == 1
    with pytest.raises(RunError, match="differs in initial"):
        train(seed=9)
    with pytest.raises(RunError, match="differs in linear_layer"):
        train(8, dataclasses.replace(RECIPE, classification=LinearLayer(0.6)))


def test_no_figure_of_held_out_images_is_looked_at(
    lesions: list[Sample], tmp_path: Path, classifications: Fits
) -> None:
    pretrain_classification(RECIPE, lesions, tmp_path, NOTHING, seed=0)
    ((_, _, _, after_epoch, _),) = classifications.calls
    assert after_epoch(1, nn.Linear(1, 1)) == ""
