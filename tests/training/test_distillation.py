"""What ResNet-18 is taught: EfficientNet-Lite0's maps, standardised, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thyroid_training.distillation import (
    Hints,
    Imitation,
    Teacher,
    imitation_loss,
    published_teacher,
)
from thyroid_training.published_weights import start_transunet
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import normalise
from thyroid_training.transunet_config import COMPACT_LITE0

WIDTHS = (24, 40, 112)


@pytest.fixture(scope="module")
def regions() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(6, 1, 16, 16, generator=generator)
    pictures = torch.nn.functional.interpolate(coarse, size=64, mode="bilinear")
    return (pictures * 255).to(torch.uint8)


@pytest.fixture(scope="module")
def teacher(regions: torch.Tensor) -> Teacher:
    return published_teacher(regions)


def test_teacher_is_the_published_one_and_frozen(teacher: Teacher) -> None:
    published = start_transunet(COMPACT_LITE0, None).encoder.state_dict()
    state = teacher.encoder.state_dict()
    assert all(torch.equal(state[name], value) for name, value in published.items())
    assert not teacher.encoder.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_hints_are_maps_and_statistics_standardised_by_channel(
    teacher: Teacher, regions: torch.Tensor
) -> None:
    inputs = normalise(regions.to(torch.float32))
    hints = teacher(inputs)
    with torch.no_grad():
        plain = [part.numpy() for part in teacher.encoder(inputs)[1:]]
    assert [part.shape for part in hints.maps] == [
        (6, width, side, side) for width, side in zip(WIDTHS, (16, 8, 4), strict=True)
    ]
    for hint, part in zip(hints.maps, plain, strict=True):
        mean = part.mean(axis=(0, 2, 3), keepdims=True)
        deviation = part.std(axis=(0, 2, 3), ddof=1, keepdims=True)
        np.testing.assert_allclose(hint.numpy(), (part - mean) / (deviation + 1e-3), atol=1e-3)
    over_picture = np.concatenate(
        [
            np.concatenate([part.mean(axis=(2, 3)), part.std(axis=(2, 3), ddof=1)], axis=1)
            for part in plain
        ],
        axis=1,
    )
    wanted = (over_picture - over_picture.mean(axis=0)) / (over_picture.std(axis=0, ddof=1) + 1e-3)
    np.testing.assert_allclose(hints.statistics.numpy(), wanted, atol=1e-3)


def test_loss_is_nothing_for_a_perfect_pupil_and_about_two_for_a_silent_one(
    teacher: Teacher, regions: torch.Tensor
) -> None:
    seen = teacher(normalise(regions.to(torch.float32)))
    silent = Hints(
        tuple(torch.zeros_like(part) for part in seen.maps), torch.zeros_like(seen.statistics)
    )
    assert imitation_loss(seen, seen).item() == 0
    assert 1.4 < imitation_loss(silent, seen).item() < 2.1
    half = Hints(seen.maps, torch.zeros_like(seen.statistics))
    assert imitation_loss(half, seen).item() == pytest.approx(
        float(np.square(seen.statistics.numpy()).mean()), rel=1e-5
    )


def test_imitation_has_the_hints_shapes_and_teaches_every_stage(
    teacher: Teacher, regions: torch.Tensor
) -> None:
    torch.manual_seed(0)
    network = ResNet18()
    imitation = Imitation(network.stage_widths, teacher.widths)
    inputs = normalise(regions.to(torch.float32))
    maps = network.maps(inputs)
    imitated = imitation(maps, maps[-1].mean(dim=(2, 3)))
    seen = teacher(inputs)
    assert [part.shape for part in imitated.maps] == [part.shape for part in seen.maps]
    assert imitated.statistics.shape == seen.statistics.shape
    imitation_loss(imitated, seen).backward()  # type: ignore[no-untyped-call]
    for stage in range(1, 5):
        gradient = network.get_parameter(f"layer{stage}.1.conv2.weight").grad
        assert gradient is not None
        assert gradient.abs().sum() > 0
