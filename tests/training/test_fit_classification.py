"""Fitting ResNet-18: which boxes its regions are cut by, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from thyroid_training import fit_classification as module
from thyroid_training.augment import AugmentConfig
from thyroid_training.dataset import Sample
from thyroid_training.fit import FitConfig
from thyroid_training.fit_classification import (
    LabelledNodule,
    fit_classification,
    labelled_nodules,
    largest_box,
    outlined_nodules,
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

    def predict(
        network: TransUNet, frames: list[NDArray[np.uint8]]
    ) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
        assert len(frames) == len(graded)
        maps = [np.zeros((224, 224), np.uint8) for _ in frames]
        maps[0] = np.where(graded[0].mask[::2, ::2], np.uint8(255), np.uint8(0))
        maps[2][100:125] = 255  # a band right through the picture, less the nodule and its rim
        rows, columns = np.nonzero(graded[2].mask[::2, ::2])
        maps[2][rows.min() - 9 : rows.max() + 9, columns.min() - 9 : columns.max() + 9] = 0
        assert maps[2].any()
        return maps, np.zeros((len(frames), 1), np.float32)

    monkeypatch.setattr(module, "predict", predict)
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


def test_outlines_alone_box_what_has_a_grade(
    ddti_samples: list[Sample], graded: list[Sample]
) -> None:
    assert 0 < len(graded) < len(ddti_samples)
    nodules = outlined_nodules(ddti_samples)
    assert [nodule.sample.name for nodule in nodules] == [sample.name for sample in graded]
    assert [nodule.boxes for nodule in nodules] == [
        (largest_box(sample.truth),) for sample in graded
    ]


# --- fitting


def test_one_grade_alone_is_refused(graded: list[Sample]) -> None:
    malignant = [
        LabelledNodule(sample, (largest_box(sample.truth),)) for sample in graded if sample.label
    ]
    with pytest.raises(ValueError, match=r"what is fitted on has 0 benign and \d+ malignant"):
        fit_classification(ResNet18(), malignant, FitConfig(1), AugmentConfig(), lambda *_: "")


def fresh() -> ResNet18:
    torch.manual_seed(3)
    return ResNet18()


def test_a_step_moves_the_weights_and_is_the_same_each_time(graded: list[Sample]) -> None:
    nodules = outlined_nodules(graded[:2])
    assert {nodule.sample.label for nodule in nodules} == {0, 1}
    told: list[ResNet18] = []

    def after_epoch(epoch: int, network: ResNet18) -> str:
        told.append(network)
        return ""

    states = []
    for drawn_before in (98, 99):
        network = fresh()
        torch.manual_seed(drawn_before)
        config = FitConfig(epochs=1, batch_size=2, average_decay=0.0, seed=3)
        kept = fit_classification(network, nodules, config, AugmentConfig(), after_epoch)
        assert type(kept) is ResNet18  # what it was taught by is not served
        assert kept is told[-1]
        assert not kept.training
        states.append(kept.state_dict())
    begun = fresh().state_dict()
    first, second = states
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], begun["conv1.weight"])
    assert all(value.isfinite().all() for value in first.values())


def test_a_lesion_weighs_as_its_class_is_rare(graded: list[Sample]) -> None:
    """One malignant among few benign pulls as hard as they do together: doubled, it pulls alike."""
    by_label = {
        label: [nodule for nodule in outlined_nodules(graded) if nodule.sample.label == label]
        for label in (0, 1)
    }
    once = [*by_label[0][:1], *by_label[1][:1]]
    biases = []
    for nodules in (once, [*once, once[1], once[1]]):
        network = fresh()
        config = FitConfig(epochs=1, batch_size=len(nodules), average_decay=0.0)
        with pytest.MonkeyPatch.context() as patch:
            losses = spy_on_losses(patch)
            fit_classification(network, nodules, config, AugmentConfig(), lambda *_: "")
        biases.append(losses)
    (few,), (many,) = biases
    assert few == (1.0, 2)
    assert many[0] == pytest.approx(1 / 3)
    assert many[1] == 4


def spy_on_losses(patch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """Of each cross-entropy, what a malignant sample weighs and how many samples it is of."""
    seen: list[tuple[float, int]] = []
    compute = F.binary_cross_entropy_with_logits

    def spy(logit: Tensor, label: Tensor, pos_weight: Tensor) -> Tensor:
        seen.append((pos_weight.item(), len(label)))
        return compute(logit, label, pos_weight=pos_weight)

    patch.setattr(F, "binary_cross_entropy_with_logits", spy)
    return seen


def test_the_linear_layer_is_left_to_the_thyroids(graded: list[Sample]) -> None:
    config = FitConfig(epochs=1, batch_size=2, average_decay=0.0)
    nodules = outlined_nodules(graded[:2])
    kept = fit_classification(fresh(), nodules, config, AugmentConfig(), lambda *_: "")
    assert torch.equal(kept.fc.weight, fresh().fc.weight)
    for stage in range(1, 5):
        name = f"layer{stage}.0.conv1.weight"
        assert not torch.equal(kept.get_parameter(name), fresh().get_parameter(name)), name
