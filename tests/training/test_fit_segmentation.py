"""Fitting TransUNet: the loss against its formula, and a run so small that it learns by heart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from thyroid_pipeline import contract
from thyroid_training.augment import AugmentConfig
from thyroid_training.dataset import Sample, shrink, shrink_mask
from thyroid_training.fit import FitConfig
from thyroid_training.fit_segmentation import fit_segmentation, predict, segmentation_loss
from thyroid_training.mask_agreement import dice
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


STILL = AugmentConfig(scale=1.05, rotation_deg=2, shift_share=0.01, stretch=1.02)


def fresh(config: TransUNetConfig) -> TransUNet:
    torch.manual_seed(11)
    return TransUNet(config)


def test_learns_a_few_phantoms_by_heart(
    ddti_samples: list[Sample], small_config: TransUNetConfig
) -> None:
    samples, network = ddti_samples[:2], fresh(small_config)
    before = loss_on(network.eval(), samples)
    plan = FitConfig(epochs=30, batch_size=2, learning_rate=1e-2, average_decay=0.5)
    network = fit_segmentation(network, samples, plan, STILL, lambda *_: "")
    assert loss_on(network, samples) < 0.7 * before
    assert not network.training
    maps, _ = predict(network, [sample.frame for sample in samples])
    agreement = [
        dice(map_ >= 128, shrink_mask(sample.mask, contract.MAP_SIDE_PX))
        for map_, sample in zip(maps, samples, strict=True)
    ]
    assert np.mean(agreement) > 0.3  # each has a nodule: silence would get 0


def test_is_the_same_each_time_and_goes_on_where_it_was(
    ddti_samples: list[Sample], small_config: TransUNetConfig, tmp_path: Path
) -> None:
    def run(seed: int, *, stop: bool = False, state_file: Path | None = None) -> TransUNet:
        def after_epoch(epoch: int, network: TransUNet) -> str:
            if stop and epoch == 2:
                raise InterruptedError
            return ""

        plan = FitConfig(epochs=3, batch_size=2, learning_rate=1e-2, seed=seed)
        network = fresh(small_config)
        return fit_segmentation(
            network, ddti_samples[:2], plan, STILL, after_epoch, state_file=state_file
        )

    wanted = run(0).state_dict()
    assert not torch.equal(run(1).state_dict()["head.weight"], wanted["head.weight"])
    torch.manual_seed(99)  # whatever was drawn before
    again = run(0).state_dict()
    assert all(torch.equal(again[name], value) for name, value in wanted.items())
    with pytest.raises(InterruptedError):
        run(0, stop=True, state_file=tmp_path / "state.pt")
    resumed = run(0, state_file=tmp_path / "state.pt").state_dict()
    assert all(torch.allclose(resumed[n], v, rtol=1e-5, atol=1e-6) for n, v in wanted.items())


def test_begins_with_the_weights_it_is_given(
    ddti_samples: list[Sample], small_config: TransUNetConfig
) -> None:
    """A step of next to no length leaves them where they were."""
    given = fresh(small_config)
    before = {name: value.clone() for name, value in given.named_parameters()}
    plan = FitConfig(epochs=1, batch_size=2, learning_rate=1e-9, weight_decay=0.0)
    kept = fit_segmentation(given, ddti_samples[:2], plan, STILL, lambda *_: "")
    for name, value in kept.named_parameters():
        assert torch.allclose(value, before[name], atol=1e-7), name


def test_too_few_samples_are_told(
    ddti_samples: list[Sample], small_config: TransUNetConfig
) -> None:
    with pytest.raises(ValueError, match="4 training samples are fewer than one batch of 8"):
        fit_segmentation(
            fresh(small_config), ddti_samples[:4], FitConfig(1), AugmentConfig(), lambda *_: ""
        )


def test_predicts_as_it_is_served(
    ddti_samples: list[Sample], small_config: TransUNetConfig
) -> None:
    network = fresh(small_config).eval()
    with torch.no_grad():
        network.head.weight.zero_()
        network.get_parameter("head.bias").fill_(float(np.log(0.2 / 0.8)))
    frames = [sample.frame for sample in ddti_samples[:2]]
    maps, features = predict(network, frames)
    assert [map_.shape for map_ in maps] == [contract.TRANSUNET.outputs[0].shape[1:]] * 2
    assert {int(value) for map_ in maps for value in np.unique(map_)} == {51}  # 0.2 * 255
    assert features.shape == (2, network.feature_count)
    assert features.dtype == np.float32
    small = np.stack([shrink(frame, 64) for frame in frames])[:, None]
    with torch.no_grad():
        seen = [
            network.forward_with_features(normalise(torch.from_numpy(picture).float()))[1].numpy()
            for picture in (small, small[..., ::-1].copy())
        ]
    # Whole grey values here, the mean of a block there.
    assert np.allclose(features, np.mean(seen, axis=0), atol=0.05)
    assert not np.allclose(features[0], features[1], atol=1e-4)
