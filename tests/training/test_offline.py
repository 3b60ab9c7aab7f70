"""The screening without a server, on networks whose answers are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from thyroid_export.repository import write_repository
from thyroid_pipeline import contract
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.mask_png import decode_mask
from thyroid_training.checkpoint import config_metadata, onnx_path
from thyroid_training.offline import OfflinePipeline
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
    config: TransUNetConfig, probability: float, classifier: ResNet18, threshold: float = 0.5
) -> OfflinePipeline:
    return OfflinePipeline(
        SegmentationGraph(segmentation_of(config, probability)),
        ClassificationGraph(classifier),
        contract.CropperParameters(threshold=threshold),
    )


def test_no_nodule_is_an_answer(
    tiny_config: TransUNetConfig, classifier: ResNet18, image: bytes, phantom: Phantom
) -> None:
    answer = pipeline_of(tiny_config, 0.01, classifier).screen(image)
    assert not answer.crop.nodule_found
    assert np.isnan(answer.malignancy)
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
    segmentation = segmentation_of(tiny_config, 0.99)
    files: tuple[tuple[nn.Module, contract.Model], ...] = (
        (segmentation, contract.TRANSUNET),
        (classifier, contract.RESNET18),
    )
    for network, model in files:
        parameters = [
            numpy_helper.from_array(value.numpy(), f"network.{name}")
            for name, value in network.state_dict().items()
            if "num_batches" not in name
        ]
        file = helper.make_model(helper.make_graph([], "by hand", [], [], parameters))
        helper.set_model_props(file, config_metadata(tiny_config))
        path = onnx_path(tmp_path, model)
        path.parent.mkdir(parents=True)
        onnx.save(file, path)
    write_repository(tmp_path)
    read = OfflinePipeline.from_repository(tmp_path).screen(image)
    direct = pipeline_of(tiny_config, 0.99, classifier).screen(image)
    assert read.crop.nodule_found
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
