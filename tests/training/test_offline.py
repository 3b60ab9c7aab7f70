"""The screening without a server, on networks whose answers are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from thyroid_export.repository import write_repository
from thyroid_pipeline import contract
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.mask_png import decode_mask
from thyroid_training.calibration import Calibration
from thyroid_training.checkpoint import config_metadata, onnx_path
from thyroid_training.offline import OfflinePipeline
from thyroid_training.ood import OodGate
from thyroid_training.operating_point import OperatingPoint
from thyroid_training.phantoms import Phantom, make_phantom
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import ClassificationGraph, SegmentationGraph
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import TransUNetConfig


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(3)


@pytest.fixture(scope="module")
def image(phantom: Phantom) -> bytes:
    return cv2.imencode(".png", phantom.image)[1].tobytes()


@pytest.fixture(scope="module")
def classifier() -> ResNet18:
    torch.manual_seed(0)
    return ResNet18().eval()


def segmentation_of(config: TransUNetConfig, probability: float) -> TransUNet:
    """Says the same probability of every pixel."""
    network = TransUNet(config)
    with torch.no_grad():
        network.head.weight.zero_()
        network.get_parameter("head.bias").fill_(float(np.log(probability / (1 - probability))))
    return network


def pipeline_of(
    config: TransUNetConfig,
    probability: float,
    classifier: ResNet18,
    threshold: float = 0.5,
    *,
    gate: OodGate | None = None,
    calibration: Calibration | None = None,
    point: OperatingPoint | None = None,
) -> OfflinePipeline:
    return OfflinePipeline(
        SegmentationGraph(segmentation_of(config, probability), gate),
        ClassificationGraph(classifier, calibration, point),
        contract.CropperParameters(threshold=threshold),
    )


def strict_gate(config: TransUNetConfig) -> OodGate:
    """A gate by which every frame lies far from all that is known."""
    network = TransUNet(config)
    gate = OodGate(1, network.feature_count)
    gate.mean.fill_(1e6)
    gate.whitening[0] = torch.eye(network.feature_count)
    return gate


def test_no_nodule_is_an_answer(
    tiny_config: TransUNetConfig, classifier: ResNet18, image: bytes, phantom: Phantom
) -> None:
    answer = pipeline_of(tiny_config, 0.01, classifier).screen(image)
    assert not answer.crop.nodule_found
    assert np.isnan(answer.malignancy)
    assert answer.decision is contract.Decision.NO_NODULE
    assert answer.ood_score == 0  # by a gate that is empty
    assert answer.evidence.shape == contract.EVIDENCE.shape
    assert answer.evidence.dtype == np.float32
    assert not answer.evidence.any()
    assert decode_mask(answer.crop.mask).shape == phantom.image.shape


def test_all_nodule_is_the_sector(
    tiny_config: TransUNetConfig, classifier: ResNet18, image: bytes, phantom: Phantom
) -> None:
    answer = pipeline_of(tiny_config, 0.99, classifier).screen(image)
    assert answer.crop.nodule_found
    found, wanted = answer.crop.box, np.array(phantom.sector_box)
    assert np.abs(found - wanted).max() < 0.1 * wanted.max()
    mean = float(answer.evidence.astype(np.float64).mean()) + classifier.fc.bias.item()
    assert answer.malignancy == pytest.approx(1 / (1 + np.exp(-mean)), abs=1e-5)


def test_threshold_is_a_parameter(
    tiny_config: TransUNetConfig, classifier: ResNet18, image: bytes
) -> None:
    for threshold, found in ((0.55, True), (0.65, False)):
        answer = pipeline_of(tiny_config, 0.6, classifier, threshold).screen(image)
        assert answer.crop.nodule_found is found


@pytest.mark.parametrize("probability", [0.01, 0.99], ids=["no nodule", "a nodule"])
def test_a_strange_frame_is_flagged_and_gets_no_malignancy(
    tiny_config: TransUNetConfig, classifier: ResNet18, image: bytes, probability: float
) -> None:
    strict = strict_gate(tiny_config)
    answer = pipeline_of(tiny_config, probability, classifier, gate=strict).screen(image)
    assert answer.ood_score > contract.OOD_LIMIT
    assert answer.decision is contract.Decision.OUT_OF_DISTRIBUTION
    assert np.isnan(answer.malignancy)
    assert not answer.evidence.any()
    # Where something was found, and what, is told all the same.
    assert answer.crop.nodule_found == (probability > 0.5)


@pytest.mark.parametrize(
    ("band", "wanted"),
    [
        ((0.8, 0.9), contract.Decision.ROUTINE),
        ((0.5, 0.9), contract.Decision.UNCERTAIN),
        ((0.5, 0.6), contract.Decision.REFER),
    ],
)
def test_the_operating_point_decides_on_the_calibrated_malignancy(
    tiny_config: TransUNetConfig,
    classifier: ResNet18,
    image: bytes,
    band: tuple[float, float],
    wanted: contract.Decision,
) -> None:
    point = OperatingPoint(*band, threshold=band[0])
    # As good as no weight to the logit: the offset alone says what comes out.
    calibration = Calibration(scale=1e-3, offset=float(np.log(0.7 / 0.3)))
    answer = pipeline_of(
        tiny_config, 0.99, classifier, calibration=calibration, point=point
    ).screen(image)
    assert answer.malignancy == pytest.approx(0.7, abs=0.01)
    assert answer.decision is wanted


def test_networks_are_put_in_evaluation_mode(
    tiny_config: TransUNetConfig, classifier: ResNet18
) -> None:
    segmentation = segmentation_of(tiny_config, 0.5).train()
    OfflinePipeline(SegmentationGraph(segmentation), ClassificationGraph(classifier.train()))
    assert not segmentation.training
    assert not classifier.training


def test_an_image_that_is_none_is_refused(
    tiny_config: TransUNetConfig, classifier: ResNet18
) -> None:
    with pytest.raises(ImageError, match="not an image of an accepted format"):
        pipeline_of(tiny_config, 0.5, classifier).screen(b"a letter instead of an image")


def test_networks_are_read_from_the_repository(
    tiny_config: TransUNetConfig, classifier: ResNet18, image: bytes, tmp_path: Path
) -> None:
    calibration = Calibration(scale=0.5, offset=0.25)
    # What is far away from it, but not too far: a score that is neither 0 nor beyond the limit.
    gate = strict_gate(tiny_config)
    gate.limit.fill_(2e6)
    point = OperatingPoint(routine_below=0.0, refer_from=1.0, threshold=0.5)
    files: tuple[tuple[SegmentationGraph | ClassificationGraph, contract.Model], ...] = (
        (SegmentationGraph(segmentation_of(tiny_config, 0.99), gate), contract.TRANSUNET),
        (ClassificationGraph(classifier, calibration, point), contract.RESNET18),
    )
    for graph, model in files:
        parameters = [
            numpy_helper.from_array(value.numpy(), name)
            for name, value in graph.state_dict().items()
            if "num_batches" not in name
        ]
        file = helper.make_model(helper.make_graph([], "by hand", [], [], parameters))
        helper.set_model_props(file, config_metadata(tiny_config))
        path = onnx_path(tmp_path, model)
        path.parent.mkdir(parents=True)
        onnx.save(file, path)
    write_repository(tmp_path)
    read = OfflinePipeline.from_repository(tmp_path).screen(image)
    direct = pipeline_of(
        tiny_config, 0.99, classifier, gate=gate, calibration=calibration, point=point
    ).screen(image)
    assert read.crop.nodule_found
    assert read.ood_score == direct.ood_score == pytest.approx(0.5, rel=0.01)
    assert read.decision is direct.decision is contract.Decision.UNCERTAIN
    assert read.malignancy == direct.malignancy
    assert np.array_equal(read.evidence, direct.evidence)
    assert read.crop.mask == direct.crop.mask
    # The cropper is tuned in its config, for this pipeline as for the server.
    config = tmp_path / "roi_cropper" / "configs" / "cpu.pbtxt"
    text = config.read_text()
    assert text.count('string_value: "0.5"') == 1
    config.write_text(text.replace('string_value: "0.5"', 'string_value: "0.995"'))
    assert not OfflinePipeline.from_repository(tmp_path).screen(image).crop.nodule_found


def test_a_repository_without_networks_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model.onnx does not exist"):
        OfflinePipeline.from_repository(tmp_path)
