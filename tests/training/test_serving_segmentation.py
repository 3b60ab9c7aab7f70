"""TransUNet as it is served: what its graph does around the network, against numpy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import cast

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from thyroid_pipeline import contract
from thyroid_training.ood import OodGate, fit_gate
from thyroid_training.serving import SegmentationGraph, normalise, quantise
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import COMPACT, TransUNetConfig

SIDE = contract.FRAME_SIDE_PX


class Stub(nn.Module):
    """In a TransUNet's place: any function of its input."""

    feature_count = 2

    def __init__(self, function: Callable[[Tensor], Tensor], image_size: int = 224) -> None:
        super().__init__()
        self.config = dataclasses.replace(COMPACT, image_size=image_size)
        self.function = function

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Least and greatest of what comes in are the features."""
        return self.function(x), torch.cat((x.amin((2, 3)), x.amax((2, 3))), dim=1)


def graph_around(
    function: Callable[[Tensor], Tensor], image_size: int = 224, gate: OodGate | None = None
) -> SegmentationGraph:
    return SegmentationGraph(cast(TransUNet, Stub(function, image_size)), gate)


def near_view(frames: NDArray[np.uint8], side: int) -> Tensor:
    """The middle of UINT8 [B, 1, 448, 448] frames, averaged by OpenCV, mirrored."""
    middles = frames[:, 0, 32:416, 32:416].astype(np.float32)
    shrunk = [cv2.resize(middle, (side, side), interpolation=cv2.INTER_AREA) for middle in middles]
    return torch.from_numpy(np.stack(shrunk)[:, None, :, ::-1].copy())


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
    assert torch.allclose(seen[0][0::2].double(), wanted, atol=1e-5)
    assert torch.allclose(seen[0][1::2], normalise(near_view(frame, image_size)), atol=1e-4)


def test_answer_is_the_mean_of_both_views_where_both_look() -> None:
    """A network that knows left from right: what it says of the two is averaged, place by place."""
    ramp = torch.linspace(-1, 1, 224)[None, None, None]

    class OneSided(Stub):
        def forward_with_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x * ramp, torch.cat((x[..., 0].mean(2), x[..., 9].mean(2)), dim=1)

    frames = torch.randint(0, 256, (3, 1, SIDE, SIDE), dtype=torch.uint8)
    graph = SegmentationGraph(cast(TransUNet, OneSided(lambda x: x)))
    probability, features = graph.look(frames)
    far = normalise(torch.nn.functional.avg_pool2d(frames.double(), 2)).numpy()
    near = normalise(near_view(frames.numpy(), 224)).numpy()
    wanted, mirrored = (1 / (1 + np.exp(-picture * ramp.numpy())) for picture in (far, near))
    for row, picture in enumerate(mirrored[:, 0, :, ::-1]):
        small = cv2.resize(
            np.ascontiguousarray(picture), (192, 192), interpolation=cv2.INTER_LINEAR
        )
        middle = wanted[row, 0, 16:208, 16:208]
        assert not np.allclose(middle, small, atol=0.1)
        wanted[row, 0, 16:208, 16:208] = (middle + small) / 2
    assert np.allclose(probability.numpy(), wanted, atol=1e-4)
    ends = [(far[..., i].mean(2) + near[..., i].mean(2)) / 2 for i in (0, 9)]
    assert np.allclose(features.numpy(), np.concatenate(ends, axis=1), atol=1e-4)
    assert torch.equal(graph(frames)[0], quantise(probability))


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
    pair = torch.cat((map_, map_))  # the second view has no part in the first rows
    answer, _ = graph_around(lambda _: pair)(torch.zeros(1, 1, SIDE, SIDE, dtype=torch.uint8))
    assert answer.dtype == torch.uint8
    assert answer.view(-1)[: len(levels)].tolist() == (levels + moved).tolist()


def test_certainty_is_0_and_255() -> None:
    for logit, wanted in ((-100.0, 0), (100.0, 255), (0.0, 128)):
        graph = graph_around(partial(torch.full_like, fill_value=logit))
        answer, _ = graph(torch.zeros(1, 1, SIDE, SIDE, dtype=torch.uint8))
        assert answer.unique().tolist() == [wanted]


@pytest.mark.parametrize("image_size", [160, 192, 256])
def test_another_side_is_answered_in_the_contracts(image_size: int) -> None:
    """What the network says of each place comes back there: a ramp stays the ramp it was."""
    places = (torch.arange(image_size) + 0.5) / image_size
    far, near = 0.2 + 0.6 * places, 0.2 + 0.6 * (32 + 384 * places) / 448
    views = torch.stack((far, near.flip(0)))  # the near one is mirrored
    pair = torch.logit(views)[:, None, None].expand(2, 1, image_size, image_size)
    answer, _ = graph_around(lambda _: pair, image_size).look(torch.zeros(1, *contract.FRAME.shape))
    assert answer.shape == (1, *contract.NODULE_PROBABILITY.shape)
    wanted = 0.2 + 0.6 * (np.arange(224) + 0.5) / 224
    # Beyond a view's outermost centres there is nothing to interpolate with.
    inner = [*range(2, 16), *range(18, 206), *range(208, 222)]
    assert np.allclose(answer[0, 0, :, inner].numpy(), wanted[inner], atol=1e-5)


def test_a_network_larger_than_the_frames_middle_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a side of 400 px came, .* from 1 to 384 was wanted"):
        graph_around(lambda x: x, 400)


def test_quantising_covers_the_bytes() -> None:
    probability = torch.linspace(0, 1, 1001)
    levels = quantise(probability)
    assert levels.dtype == torch.uint8
    wanted = np.floor(probability.numpy().astype(np.float32) * np.float32(255) + np.float32(0.5))
    assert levels.tolist() == wanted.astype(int).tolist()
    assert levels[[0, -1]].tolist() == [0, 255]


def test_strangeness_is_the_gates_times_the_contracts_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = np.random.default_rng(0).normal(0, 1, (40, 2)).astype(np.float32)
    gate = fit_gate([known, known + 9], [1.5, 2.0])
    frames = torch.randint(0, 256, (3, 1, SIDE, SIDE), dtype=torch.uint8)
    frames[1] //= 4
    graph = graph_around(lambda x: x, gate=gate)
    grey = normalise(torch.nn.functional.avg_pool2d(frames.float(), 2))
    with torch.no_grad():
        near = normalise(near_view(frames.numpy(), 224))
        seen = [torch.cat((x.amin((2, 3)), x.amax((2, 3))), dim=1) for x in (grey, near)]
        wanted = gate((seen[0] + seen[1]) / 2)
        _, score = graph(frames)
        assert torch.allclose(score, wanted * contract.OOD_LIMIT, rtol=1e-4)
        monkeypatch.setattr(contract, "OOD_LIMIT", 3.0)
        assert torch.allclose(graph(frames)[1], wanted * 3, rtol=1e-5)
    assert score.shape == (3, *contract.OOD_SCORE.shape)
    assert wanted.std() > 0


def test_without_a_gate_no_frame_is_strange() -> None:
    frames = torch.randint(0, 256, (2, 1, SIDE, SIDE), dtype=torch.uint8)
    assert not graph_around(lambda x: x)(frames)[1].any()


def test_segmentation_of_a_batch_is_that_of_its_images(tiny_config: TransUNetConfig) -> None:
    torch.manual_seed(0)
    network = TransUNet(tiny_config)
    with torch.no_grad():
        network.head.weight *= 100  # fresh weights say the same of every pixel
    known = np.random.default_rng(0).normal(0, 1, (9, network.feature_count)).astype(np.float32)
    graph = SegmentationGraph(network, fit_gate([known], [2.0])).eval()
    frames = torch.randint(0, 256, (3, *contract.FRAME.shape), dtype=torch.uint8)
    with torch.no_grad():
        together, scores = graph(frames)
        each = [graph(frame[None]) for frame in frames]
    alone = torch.cat([map_ for map_, _ in each])
    assert together.shape == (3, *contract.NODULE_PROBABILITY.shape)
    assert (together.int() - alone.int()).abs().max() <= 1  # rounding may fall either way
    assert len(together.unique()) > 20
    assert torch.allclose(scores, torch.cat([score for _, score in each]), rtol=1e-4)
    assert scores.min() > 0
