"""The graphs as they are served: what they do around the networks, against numpy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thyroid_pipeline import contract
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import ClassificationGraph, SegmentationGraph, normalise
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import COMPACT, TransUNetConfig

SIDE = contract.FRAME_SIDE_PX


class Stub(nn.Module):
    """In a TransUNet's place: any function of its input."""

    def __init__(self, function: Callable[[Tensor], Tensor], image_size: int = 224) -> None:
        super().__init__()
        self.config = dataclasses.replace(COMPACT, image_size=image_size)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def graph_around(function: Callable[[Tensor], Tensor], image_size: int = 224) -> SegmentationGraph:
    return SegmentationGraph(cast(TransUNet, Stub(function, image_size)))


@pytest.fixture(scope="module")
def classifier() -> ResNet18:
    torch.manual_seed(0)
    network = ResNet18().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training, so that nothing cancels
            nn.init.uniform_(module.get_buffer("running_var"), 0.5, 2.0)
            nn.init.normal_(module.get_buffer("running_mean"))
    return network


@pytest.mark.parametrize("image_size", [224, 112, 64])
def test_downsample_is_the_mean_of_each_block(image_size: int) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (2, 1, SIDE, SIDE), np.uint8)
    frame[1] = 255  # a sum of bytes would overflow
    seen: list[Tensor] = []

    def look(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    graph_around(look, image_size)(torch.from_numpy(frame))
    step = SIDE // image_size
    blocks = frame.reshape(2, 1, image_size, step, image_size, step).astype(np.float64)
    wanted = normalise(torch.from_numpy(blocks.mean(axis=(3, 5))))
    assert torch.allclose(seen[0].double(), wanted, atol=1e-5)


def test_normalisation_never_looks_at_the_content() -> None:
    grey = torch.arange(256, dtype=torch.float32)
    whole = normalise(grey)
    each = torch.stack([normalise(value) for value in grey])
    assert torch.equal(whole, each)
    steps = whole.diff()
    assert torch.allclose(steps, steps[0], atol=1e-5)
    assert steps[0] > 0


@pytest.mark.parametrize(("offset", "moved"), [(-0.49, 0), (0.0, 0), (0.49, 0), (0.51, 1)])
def test_probability_is_rounded_half_up_to_255(offset: float, moved: int) -> None:
    levels = np.arange(1, 254)
    probability = (levels + offset) / 255
    logits = torch.from_numpy(np.log(probability / (1 - probability))).float()
    map_ = torch.zeros(1, 1, 224, 224)
    map_.view(-1)[: len(levels)] = logits
    answer = graph_around(lambda _: map_)(torch.zeros(1, 1, SIDE, SIDE, dtype=torch.uint8))
    assert answer.dtype == torch.uint8
    assert answer.view(-1)[: len(levels)].tolist() == (levels + moved).tolist()


def test_certainty_is_0_and_255() -> None:
    for logit, wanted in ((-100.0, 0), (100.0, 255), (0.0, 128)):
        graph = graph_around(partial(torch.full_like, fill_value=logit))
        answer = graph(torch.zeros(1, 1, SIDE, SIDE, dtype=torch.uint8))
        assert answer.unique().tolist() == [wanted]


def test_a_side_that_does_not_divide_the_frame_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`image_size` \(=160\) must divide .* \(448\)"):
        graph_around(lambda x: x, 160)


def test_segmentation_of_a_batch_is_that_of_its_images(tiny_config: TransUNetConfig) -> None:
    torch.manual_seed(0)
    network = TransUNet(tiny_config)
    with torch.no_grad():
        network.head.weight *= 100  # fresh weights say the same of every pixel
    graph = SegmentationGraph(network).eval()
    frames = torch.randint(0, 256, (3, *contract.FRAME.shape), dtype=torch.uint8)
    with torch.no_grad():
        together = graph(frames)
        alone = torch.cat([graph(frame[None]) for frame in frames])
    assert together.shape == (3, *contract.NODULE_PROBABILITY.shape)
    assert (together.int() - alone.int()).abs().max() <= 1  # rounding may fall either way
    assert len(together.unique()) > 20


def test_evidence_is_the_answer_spread_over_the_picture(classifier: ResNet18) -> None:
    roi = torch.randint(0, 256, (3, *contract.ROI.shape), dtype=torch.uint8)
    found = torch.ones(3, 1, dtype=torch.bool)
    with torch.no_grad():
        malignancy, evidence = ClassificationGraph(classifier)(roi, found)
        logit = classifier(normalise(roi.float()))
    assert evidence.shape == (3, *contract.EVIDENCE.shape)
    assert malignancy.shape == (3, *contract.MALIGNANCY.shape)
    assert torch.allclose(malignancy, torch.sigmoid(logit), atol=1e-5)
    mean = evidence.double().flatten(1).mean(dim=1, keepdim=True)
    assert torch.allclose(mean + classifier.fc.bias, logit.double(), atol=1e-4)
    assert evidence.std() > 0


def test_evidence_weighs_each_map_by_the_linear_layer(classifier: ResNet18) -> None:
    roi = torch.randint(0, 256, (1, *contract.ROI.shape), dtype=torch.uint8)
    with torch.no_grad():
        features = classifier.features(normalise(roi.float()))[0].numpy()
        _, evidence = ClassificationGraph(classifier)(roi, torch.tensor([[True]]))
    weight = classifier.fc.weight.detach().numpy()[0]
    wanted = np.tensordot(weight.astype(np.float64), features, axes=1)
    assert np.allclose(evidence[0].numpy(), wanted, atol=1e-4)


def test_no_nodule_is_nan_and_no_evidence_for_that_image_alone(classifier: ResNet18) -> None:
    roi = torch.randint(0, 256, (4, *contract.ROI.shape), dtype=torch.uint8)
    found = torch.tensor([[True], [False], [True], [False]])
    graph = ClassificationGraph(classifier)
    with torch.no_grad():
        malignancy, evidence = graph(roi, found)
        alone = [graph(roi[row : row + 1], found[row : row + 1]) for row in range(4)]
    assert malignancy.isnan().squeeze(1).tolist() == [False, True, False, True]
    assert evidence[1].abs().max() == evidence[3].abs().max() == 0
    assert evidence[0].abs().max() > 0
    each = torch.cat([answer[0] for answer in alone])
    assert torch.allclose(malignancy, each, atol=1e-6, equal_nan=True)
    assert torch.allclose(evidence, torch.cat([answer[1] for answer in alone]), atol=1e-5)
