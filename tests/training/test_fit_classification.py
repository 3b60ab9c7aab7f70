"""Fitting ResNet-18: which boxes its regions are cut by, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thyroid_training import fit_classification as module
from thyroid_training.augment import AugmentConfig
from thyroid_training.dataset import Sample
from thyroid_training.fit import FitConfig
from thyroid_training.fit_classification import (
    LabelledNodule,
    fit_classification,
    labelled_nodules,
    largest_box,
)
from thyroid_training.resnet18 import ResNet18
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import TransUNetConfig


def test_largest_box_is_of_the_largest_region_alone() -> None:
    mask = np.zeros((50, 60), np.bool_)
    mask[2:6, 3:9] = True  # 24 pixels
    mask[20:30, 40:45] = True  # 50 pixels
    mask[30, 45] = True  # touches by a corner, so it belongs to it
    assert largest_box(mask) == (40, 20, 6, 11)


@pytest.fixture
def segmentation(tiny_config: TransUNetConfig) -> TransUNet:
    return TransUNet(tiny_config).eval()


@pytest.fixture
def graded(ddti_samples: list[Sample]) -> list[Sample]:
    return [sample for sample in ddti_samples if sample.label is not None]


def test_boxes_are_the_outlined_and_the_predicted_one(
    ddti_samples: list[Sample],
    graded: list[Sample],
    segmentation: TransUNet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first prediction finds the nodule, the second nothing, the third something else."""

    def predict(network: TransUNet, frames: list[np.ndarray]) -> list[np.ndarray]:  # type: ignore[type-arg]
        assert len(frames) == len(graded)
        maps = [np.zeros((224, 224), np.uint8) for _ in frames]
        maps[0] = np.where(graded[0].mask[::2, ::2], np.uint8(255), np.uint8(0))
        maps[2][100:125] = 255  # a band right through the picture, less the nodule and its rim
        rows, columns = np.nonzero(graded[2].mask[::2, ::2])
        maps[2][rows.min() - 9 : rows.max() + 9, columns.min() - 9 : columns.max() + 9] = 0
        assert maps[2].any()
        return maps

    monkeypatch.setattr(module, "predict_probability", predict)
    nodules = labelled_nodules(ddti_samples, segmentation)
    assert [nodule.sample.name for nodule in nodules] == [sample.name for sample in graded]
    for nodule in nodules:
        rows, columns = np.nonzero(nodule.sample.truth)  # phantoms of one view: one region
        x, y = columns.min(), rows.min()
        wanted = (x, y, columns.max() + 1 - x, rows.max() + 1 - y)
        assert nodule.boxes[0] == wanted
    assert [len(nodule.boxes) for nodule in nodules[:3]] == [2, 1, 1]
    outlined, predicted = (np.array(box) for box in nodules[0].boxes)
    assert np.abs(outlined - predicted).max() <= 3


def test_one_grade_alone_is_refused(graded: list[Sample]) -> None:
    malignant = [
        LabelledNodule(sample, (largest_box(sample.truth),)) for sample in graded if sample.label
    ]
    with pytest.raises(ValueError, match=r"what is fitted on has 0 benign and \d+ malignant"):
        fit_classification(malignant, FitConfig(1), AugmentConfig(), lambda *_: "")


def test_a_step_moves_the_weights_and_is_the_same_each_time(graded: list[Sample]) -> None:
    nodules = [LabelledNodule(sample, (largest_box(sample.truth),)) for sample in graded[:2]]
    assert {nodule.sample.label for nodule in nodules} == {0, 1}
    runs = []
    for drawn_before in (98, 99):
        torch.manual_seed(drawn_before)
        config = FitConfig(epochs=2, batch_size=2, average_decay=0.0, seed=3)
        runs.append(fit_classification(nodules, config, AugmentConfig(), lambda *_: ""))
    torch.manual_seed(3)
    fresh = ResNet18().state_dict()
    first, second = (run.state_dict() for run in runs)
    assert not runs[0].training
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], fresh["conv1.weight"])
    assert all(value.isfinite().all() for value in first.values())
