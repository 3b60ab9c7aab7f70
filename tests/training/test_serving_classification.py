"""ResNet-18 as it is served: malignancy, evidence, decision, against numpy."""

from __future__ import annotations

import itertools
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thyroid_pipeline import contract
from thyroid_pipeline.contract import Decision
from thyroid_training.calibration import Calibration
from thyroid_training.operating_point import OperatingPoint
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import ClassificationGraph, normalise

FAMILIAR = torch.zeros(1, 1)


@pytest.fixture(scope="module")
def classifier() -> ResNet18:
    torch.manual_seed(0)
    network = ResNet18().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training, so that nothing cancels
            nn.init.uniform_(module.get_buffer("running_var"), 0.5, 2.0)
            nn.init.normal_(module.get_buffer("running_mean"))
    return network


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
