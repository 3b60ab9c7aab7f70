"""The graphs as they are served: what they do around the networks, against numpy."""

from __future__ import annotations

import dataclasses
import itertools
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
from thyroid_pipeline.contract import Decision
from thyroid_training.calibration import Calibration
from thyroid_training.ood import OodGate, fit_gate
from thyroid_training.operating_point import OperatingPoint
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import (
    ClassificationGraph,
    SegmentationGraph,
    normalise,
    quantise,
)
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


@pytest.fixture(scope="module")
def classifier() -> ResNet18:
    torch.manual_seed(0)
    network = ResNet18().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training, so that nothing cancels
            nn.init.uniform_(module.get_buffer("running_var"), 0.5, 2.0)
            nn.init.normal_(module.get_buffer("running_mean"))
    return network


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


# --- malignancy, evidence, decision


FAMILIAR = torch.zeros(1, 1)


def rois(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (count, *contract.ROI.shape)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_evidence_is_the_answer_spread_over_the_picture(classifier: ResNet18) -> None:
    """Calibrated: scale times the map, scale times the bias plus the offset."""
    roi, found = rois(3), torch.ones(3, 1, dtype=torch.bool)
    scale, offset = 0.7, -1.3
    graph = ClassificationGraph(classifier, Calibration(scale, offset))
    with torch.no_grad():
        malignancy, evidence, _ = graph(roi, found, FAMILIAR.expand(3, 1))
        logit = classifier(normalise(roi.float())).double()
    assert evidence.shape == (3, *contract.EVIDENCE.shape)
    assert malignancy.shape == (3, *contract.MALIGNANCY.shape)
    wanted = Calibration(scale, offset).apply(logit.numpy())
    assert np.allclose(wanted, 1 / (1 + np.exp(-(scale * logit.numpy() + offset))))
    assert np.allclose(malignancy.numpy(), wanted, atol=1e-5)
    mean = evidence.double().flatten(1).mean(dim=1, keepdim=True)
    constant = scale * classifier.fc.bias.double() + offset
    assert torch.allclose(mean + constant, scale * logit + offset, atol=1e-4)
    assert evidence.std() > 0


def test_uncalibrated_it_is_the_networks_own(classifier: ResNet18) -> None:
    roi = rois(2)
    with torch.no_grad():
        found = torch.ones(2, 1, dtype=torch.bool)
        malignancy, _, _ = ClassificationGraph(classifier)(roi, found, FAMILIAR.expand(2, 1))
        wanted = torch.sigmoid(classifier(normalise(roi.float())))
    assert torch.allclose(malignancy, wanted, atol=1e-5)


def test_evidence_weighs_each_map_by_the_linear_layer(classifier: ResNet18) -> None:
    roi, graph = rois(1), ClassificationGraph(classifier, Calibration(2.0, 5.0))
    with torch.no_grad():
        features = classifier.features(normalise(roi.float()))[0].numpy()
        _, evidence, _ = graph(roi, torch.tensor([[True]]), FAMILIAR)
    weight = classifier.fc.weight.detach().numpy()[0]
    wanted = 2 * np.tensordot(weight.astype(np.float64), features, axes=1)
    assert np.allclose(evidence[0].numpy(), wanted, atol=1e-4)


class Brightness(nn.Module):
    """In a ResNet-18's place: the logit is the mean grey value, normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1, 1)
        nn.init.ones_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def features(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, contract.ROI_SIDE_PX // contract.EVIDENCE_SIDE)


def test_every_combination_is_decided_as_the_contract_says() -> None:
    """Found or not; familiar, at the limit, strange, not a number; in, between and on thresholds.

    The logit is calibrated so that a grey value of 0, 50, 100, 150 or 200 is a probability of its
    own, of which the second and the fourth are the thresholds themselves.
    """
    greys = np.array([0, 50, 100, 150, 200], np.uint8)
    calibration = Calibration(1.5, -0.4)
    network = cast(ResNet18, Brightness())
    levels = torch.from_numpy(greys)[:, None, None, None].expand(-1, *contract.ROI.shape)
    all_found, none_strange = torch.ones(5, 1, dtype=torch.bool), torch.zeros(5, 1)
    with torch.no_grad():
        said, _, _ = ClassificationGraph(network, calibration)(levels, all_found, none_strange)
    p = said[:, 0].tolist()
    assert p == sorted(p)
    assert len(set(p)) == 5
    point = OperatingPoint(routine_below=p[1], refer_from=p[3], threshold=p[2])
    limit = np.float32(contract.OOD_LIMIT)
    scores = (0.0, contract.OOD_LIMIT, np.nextafter(limit, np.float32(2)), np.nan)
    rows = list(itertools.product(range(5), (True, False), scores))
    index, found, score = zip(*rows, strict=True)
    graph = ClassificationGraph(network, calibration, point)
    with torch.no_grad():
        malignancy, evidence, decision = graph(
            levels[list(index)],
            torch.tensor(found)[:, None],
            torch.tensor(score, dtype=torch.float32)[:, None],
        )
    assert decision.dtype == torch.int32
    assert decision.shape == (len(rows), *contract.DECISION.shape)
    decided = point.decide(np.array(p))
    assert {Decision(value) for value in decided} == {
        Decision.ROUTINE,
        Decision.UNCERTAIN,
        Decision.REFER,
    }
    for row, (i, is_found, strangeness) in enumerate(rows):
        familiar = strangeness <= contract.OOD_LIMIT  # which NaN is not
        if not familiar:
            wanted = Decision.OUT_OF_DISTRIBUTION
        elif not is_found:
            wanted = Decision.NO_NODULE
        else:
            wanted = Decision(decided[i])
        assert Decision(int(decision[row, 0])) is wanted, rows[row]
        if familiar and is_found:
            assert malignancy[row, 0].item() == pytest.approx(p[i], abs=1e-6)
            assert evidence[row].abs().min() > 0
        else:
            assert malignancy[row, 0].isnan()
            assert not evidence[row].any()


def test_each_image_of_a_batch_is_answered_as_alone(classifier: ResNet18) -> None:
    roi = rois(4)
    found = torch.tensor([[True], [False], [True], [True]])
    score = torch.tensor([[0.2], [0.3], [7.0], [0.9]])
    graph = ClassificationGraph(classifier)
    with torch.no_grad():
        together = graph(roi, found, score)
        rows = [slice(row, row + 1) for row in range(4)]
        alone = [graph(roi[row], found[row], score[row]) for row in rows]
    assert together[0].isnan().squeeze(1).tolist() == [False, True, True, False]
    for got, *each in zip(together, *alone, strict=True):
        wanted = torch.cat(each)
        assert torch.allclose(got.double(), wanted.double(), atol=1e-5, equal_nan=True)
