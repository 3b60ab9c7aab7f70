"""Fitting TransUNet: the loss against its formula, and a run so small that it learns by heart."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from thyroid_training.augment import AugmentConfig
from thyroid_training.dataset import Sample, shrink, shrink_mask
from thyroid_training.fit import FitConfig
from thyroid_training.fit_segmentation import (
    fit_segmentation,
    mean_dice,
    predict_probability,
    segmentation_loss,
)
from thyroid_training.serving import normalise
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import TransUNetConfig

CERTAIN = 40.0


def truth_of(*areas: int) -> Tensor:
    """Each sample's first pixels are nodule."""
    truth = torch.zeros(len(areas), 1, 8, 8)
    for row, area in enumerate(areas):
        truth[row].view(-1)[:area] = 1
    return truth


def test_perfect_prediction_costs_nothing() -> None:
    truth = truth_of(10, 64, 1)
    assert segmentation_loss((2 * truth - 1) * CERTAIN, truth).item() == pytest.approx(0, abs=1e-6)


def test_silence_where_nothing_is_costs_nothing() -> None:
    truth = truth_of(0, 0)
    assert segmentation_loss(truth - CERTAIN, truth).item() == pytest.approx(0, abs=1e-6)


def test_opposite_prediction_costs_the_most() -> None:
    truth = truth_of(10)
    loss = segmentation_loss((1 - 2 * truth) * CERTAIN, truth).item()
    # Cross-entropy is the logit; nothing overlaps: 1 - 1 / (64 + 1).
    assert loss == pytest.approx(0.5 * CERTAIN + 0.5 * (1 - 1 / 65), rel=1e-5)


def test_loss_is_its_formula() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (3, 1, 8, 8))
    truth = truth_of(5, 20, 0).numpy().astype(float)
    p = 1 / (1 + np.exp(-logits))
    cross_entropy = -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()
    dices = [
        (2 * (p[row] * truth[row]).sum() + 1) / (p[row].sum() + truth[row].sum() + 1)
        for row in range(3)
    ]
    wanted = 0.5 * cross_entropy + 0.5 * (1 - np.mean(dices))
    assert segmentation_loss(torch.tensor(logits), torch.tensor(truth)).item() == pytest.approx(
        wanted, rel=1e-6
    )


def test_each_sample_counts_alike_whatever_its_nodules_size() -> None:
    """A missed small nodule costs as much Dice as a missed large one."""
    truth = truth_of(30, 3)
    found_large, found_small = torch.full_like(truth, -CERTAIN), torch.full_like(truth, -CERTAIN)
    found_large[0][truth[0] == 1] = CERTAIN
    found_small[1][truth[1] == 1] = CERTAIN
    entropy_large = CERTAIN * 3 / 128  # of the three pixels that were missed
    entropy_small = CERTAIN * 30 / 128
    large = segmentation_loss(found_large, truth).item() - 0.5 * entropy_large
    small = segmentation_loss(found_small, truth).item() - 0.5 * entropy_small
    assert large == pytest.approx(0.25 * (1 - 1 / 4), rel=1e-4)
    assert small == pytest.approx(0.25 * (1 - 1 / 31), rel=1e-4)


# --- fitting


@pytest.fixture(scope="module")
def small_config(tiny_config: TransUNetConfig) -> TransUNetConfig:
    return dataclasses.replace(tiny_config, image_size=64)


def loss_on(network: TransUNet, samples: list[Sample]) -> float:
    side = network.config.image_size
    frames = np.stack([shrink(sample.frame, side) for sample in samples])[:, None]
    masks = np.stack([shrink_mask(sample.mask, side) for sample in samples])[:, None]
    with torch.no_grad():
        logits = network(normalise(torch.from_numpy(frames).float()))
    return segmentation_loss(logits, torch.from_numpy(masks).float()).item()


def short_run(
    samples: list[Sample], config: TransUNetConfig, seed: int
) -> tuple[TransUNet, list[float]]:
    losses: list[float] = []

    def after_epoch(epoch: int, network: TransUNet) -> str:
        losses.append(loss_on(network, samples))
        return f"{losses[-1]:.3f}"

    plan = FitConfig(epochs=25, batch_size=2, learning_rate=1e-2, average_decay=0.5, seed=seed)
    still = AugmentConfig(scale=1.05, rotation_deg=2, shift_share=0.01, stretch=1.02)
    return fit_segmentation(samples, config, plan, still, after_epoch), losses


def test_learns_a_few_phantoms_by_heart_and_the_same_way_each_time(
    ddti_samples: list[Sample], small_config: TransUNetConfig
) -> None:
    samples = ddti_samples[:4]
    network, losses = short_run(samples, small_config, seed=0)
    assert losses[-1] < 0.7 * losses[0]
    assert not network.training
    assert mean_dice(network, samples) > 0.3  # each has a nodule: silence would get 0
    again, same_losses = short_run(samples, small_config, seed=0)
    assert same_losses == losses
    assert all(torch.equal(again.state_dict()[k], v) for k, v in network.state_dict().items())
    _, other_losses = short_run(samples, small_config, seed=1)
    assert other_losses != losses


def test_too_few_samples_are_told(
    ddti_samples: list[Sample], small_config: TransUNetConfig
) -> None:
    with pytest.raises(ValueError, match="4 training samples are fewer than one batch of 12"):
        fit_segmentation(
            ddti_samples[:4], small_config, FitConfig(1), AugmentConfig(), lambda *_: ""
        )


def test_predicts_as_it_is_served(
    ddti_samples: list[Sample], small_config: TransUNetConfig
) -> None:
    network = TransUNet(small_config).eval()
    with torch.no_grad():
        network.head.weight.zero_()
        network.get_parameter("head.bias").fill_(float(np.log(0.2 / 0.8)))
    maps = predict_probability(network, [sample.frame for sample in ddti_samples[:2]])
    assert [map_.shape for map_ in maps] == [(64, 64)] * 2
    assert {int(value) for map_ in maps for value in np.unique(map_)} == {51}  # 0.2 * 255


@pytest.mark.parametrize(("bias", "everything"), [(5.0, True), (-5.0, False)])
def test_mean_dice_of_everything_and_of_nothing(
    ddti_samples: list[Sample], small_config: TransUNetConfig, bias: float, everything: bool
) -> None:
    network = TransUNet(small_config).eval()
    with torch.no_grad():
        network.head.weight.zero_()
        network.get_parameter("head.bias").fill_(bias)
    samples = ddti_samples[:3]
    areas = [
        sample.mask.reshape(64, 7, 64, 7).mean(axis=(1, 3)).__ge__(0.5).mean() for sample in samples
    ]
    wanted = np.mean([2 * area / (1 + area) for area in areas]) if everything else 0.0
    assert mean_dice(network, samples) == pytest.approx(wanted, abs=0.01)
