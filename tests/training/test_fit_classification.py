"""Fitting ResNet-18: which boxes its regions are cut by, and what it refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from thyroid_training import fit_classification as module
from thyroid_training.augment import AugmentConfig
from thyroid_training.dataset import Sample
from thyroid_training.descriptors import CLASS_COUNTS
from thyroid_training.fit import FitConfig
from thyroid_training.fit_classification import (
    LabelledNodule,
    MultiTask,
    fit_classification,
    labelled_nodules,
    largest_box,
    multi_task_loss,
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


# --- the loss

WEIGHT = 0.2  # of each descriptor beside the grade


def drawn(rows: int, seed: int = 0) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor]:
    """Logits of the grade and of the descriptors, grades, descriptors."""
    rng = np.random.default_rng(seed)
    logits = {
        name: torch.from_numpy(rng.normal(0, 2, (rows, n))) for name, n in CLASS_COUNTS.items()
    }
    told = np.stack([rng.integers(-1, n, rows) for n in CLASS_COUNTS.values()], axis=1)
    return (
        torch.from_numpy(rng.normal(0, 2, (rows, 1))),
        logits,
        torch.from_numpy(rng.integers(0, 2, rows).astype(float)),
        torch.from_numpy(told),
    )


def grade_loss(logit: Tensor, label: Tensor, malignant_weight: float) -> float:
    p = 1 / (1 + np.exp(-logit.numpy()[:, 0]))
    weight = np.where(label.numpy() == 1, malignant_weight, 1.0)
    right = np.where(label.numpy() == 1, p, 1 - p)
    return float((weight * -np.log(right)).mean())


def test_loss_is_its_formula() -> None:
    logit, others, label, told = drawn(7)
    assert (told < 0).any()
    wanted = grade_loss(logit, label, 0.3)
    for column, values in enumerate(others.values()):
        for row, scores in enumerate(values.numpy()):
            if told[row, column] >= 0:
                share = np.exp(scores[told[row, column]]) / np.exp(scores).sum()
                wanted += WEIGHT * -np.log(share) / 7
    got = multi_task_loss(logit, others, label, told, 0.3)
    assert got.item() == pytest.approx(wanted, rel=1e-6)


def test_descriptors_that_nobody_gave_add_nothing() -> None:
    logit, others, label, told = drawn(4)
    for scores in others.values():
        scores.requires_grad_()
    logit.requires_grad_()
    loss = multi_task_loss(logit, others, label, torch.full_like(told, -1), 2.0)
    assert loss.item() == pytest.approx(grade_loss(logit.detach(), label, 2.0), rel=1e-6)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logit.grad is not None
    assert logit.grad.isfinite().all()
    for scores in others.values():
        assert scores.grad is None or not scores.grad.any()


def test_a_malignant_nodule_weighs_what_it_should() -> None:
    """Five malignant nodules of weight a fifth pull as hard as one benign one of weight 1."""
    logit = torch.zeros(6, 1, requires_grad=True)
    label, none = torch.tensor([1.0] * 5 + [0.0]), torch.full((6, len(CLASS_COUNTS)), -1)
    others = {name: torch.zeros(6, n) for name, n in CLASS_COUNTS.items()}
    multi_task_loss(logit, others, label, none, 0.2).backward()  # type: ignore[no-untyped-call]
    assert logit.grad is not None
    assert logit.grad[:5].sum().item() == pytest.approx(-logit.grad[5].item())
    assert logit.grad[5].item() > 0


def test_grade_is_the_served_networks_own() -> None:
    torch.manual_seed(0)
    network = ResNet18().eval()
    picture = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        logit, others = MultiTask(network)(picture)
        assert torch.allclose(logit, network(picture), atol=1e-6)
    assert {name: tuple(values.shape) for name, values in others.items()} == {
        name: (2, n) for name, n in CLASS_COUNTS.items()
    }


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
        assert type(kept) is ResNet18  # the heads of the descriptors are not served
        assert kept is told[-1]
        assert not kept.training
        states.append(kept.state_dict())
    begun = fresh().state_dict()
    first, second = states
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], begun["conv1.weight"])
    assert all(value.isfinite().all() for value in first.values())


def test_descriptors_teach_the_shared_layers(graded: list[Sample]) -> None:
    """What else was said changes the fit, although no head of it is kept."""
    states = []
    for said in ({}, {"margins": 3, "tirads": 4}):
        nodules = [
            dataclasses.replace(nodule, sample=dataclasses.replace(nodule.sample, descriptors=said))
            for nodule in outlined_nodules(graded[:2])
        ]
        config = FitConfig(epochs=1, batch_size=2, average_decay=0.0)
        kept = fit_classification(fresh(), nodules, config, AugmentConfig(), lambda *_: "")
        states.append(kept.state_dict())
    assert all(value.isfinite().all() for state in states for value in state.values())
    assert not torch.equal(states[0]["conv1.weight"], states[1]["conv1.weight"])
