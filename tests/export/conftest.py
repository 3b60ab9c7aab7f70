"""Networks exported once for the whole session, with weights as alive as trained ones.

For the builder: a network of two layers, and every version of a library that is made up.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from fake_tensorrt import NAMES, FakeTensorRT, make_library
from miniatures import TINY_PAPER
from thyroid_export.export_onnx import write_onnx
from thyroid_export.parity_inputs import parity_inputs
from thyroid_pipeline import contract
from thyroid_training.area_mean import AreaMean
from thyroid_training.calibration import Calibration
from thyroid_training.ood import fit_gate
from thyroid_training.operating_point import OperatingPoint
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import ClassificationGraph, SegmentationGraph, normalise
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import COMPACT


@dataclass(frozen=True)
class Exported:
    """A network and the file it was exported to."""

    network: TransUNet | ResNet18
    served: SegmentationGraph | ClassificationGraph
    path: Path
    model: contract.Model

    def graph(self) -> nn.Module:
        """The network as it was exported, in FP32."""
        return copy.deepcopy(self.served).eval()

    def load(self) -> onnx.ModelProto:
        return onnx.load(self.path)


def enliven(network: TransUNet | ResNet18) -> None:
    """Give every layer a say, as in a trained network; a fresh one answers alike everywhere.

    Weights of unit gain, statistics of batches from phantoms, an answer of some spread.
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)):
                nn.init.uniform_(module.weight, 0.7, 1.3)
                nn.init.normal_(module.bias, 0, 0.1)
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        (frames,) = parity_inputs(contract.TRANSUNET, 2, seed=100)
        side = network.config.image_size if isinstance(network, TransUNet) else contract.ROI_SIDE_PX
        shrink = AreaMean(contract.FRAME_SIDE_PX, side)
        pictures = normalise(shrink(torch.from_numpy(frames).float()))
        network.train()(pictures)  # sets the statistics
        answer = network.eval()(pictures)
        last = "head" if isinstance(network, TransUNet) else "fc"
        network.get_parameter(f"{last}.weight").mul_(1.5 / answer.std())
        network.get_parameter(f"{last}.bias").add_(0.3)
        network.train()


def serve(network: TransUNet | ResNet18) -> SegmentationGraph | ClassificationGraph:
    """The network with a gate, or a calibration and an operating point, as alive as it is."""
    if isinstance(network, ResNet18):
        point = OperatingPoint(routine_below=0.3, refer_from=0.6, threshold=0.3)
        return ClassificationGraph(network, Calibration(scale=0.8, offset=0.2), point)
    (frames,) = parity_inputs(contract.TRANSUNET, 4, seed=200)
    network.eval()
    with torch.no_grad():
        _, features = SegmentationGraph(network).look(torch.from_numpy(frames))
    network.train()
    return SegmentationGraph(network, fit_gate([features.numpy()], [2.0]))


def export(network: TransUNet | ResNet18, folder: Path) -> Exported:
    path, served = folder / "model.onnx", serve(network)
    return Exported(network, served, path, write_onnx(served, path))


@pytest.fixture(scope="session")
def compact(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(0)
    network = TransUNet(COMPACT)
    enliven(network)
    return export(network, tmp_path_factory.mktemp("compact"))


@pytest.fixture(scope="session")
def group(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The paper's layers in miniature: weight standardisation, group normalisation, bottlenecks."""
    torch.manual_seed(1)
    network = TransUNet(TINY_PAPER)
    enliven(network)
    with torch.no_grad():
        # Kernels so small that a second standardisation would change them.
        network.get_parameter("encoder.stages.0.0.layers.0.weight").mul_(0.02)
    return export(network, tmp_path_factory.mktemp("group"))


@pytest.fixture(scope="session")
def resnet18(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(2)
    network = ResNet18()
    enliven(network)
    return export(network, tmp_path_factory.mktemp("resnet18"))


@pytest.fixture(params=["compact", "group", "resnet18"])
def exported(request: pytest.FixtureRequest) -> Exported:
    """Each of the three in turn."""
    value = request.getfixturevalue(request.param)
    assert isinstance(value, Exported)
    return value


@pytest.fixture(params=NAMES)
def library(request: pytest.FixtureRequest) -> FakeTensorRT:
    """TensorRT, version by version."""
    return make_library(request.param)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Two inputs, as the classifier's."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["roi"], ["grey"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["grey", "shift"], ["y"], name="sum"),
        ],
        "test",
        [
            helper.make_tensor_value_info("roi", TensorProto.UINT8, ["batch", 1, 4, 4]),
            helper.make_tensor_value_info("shift", TensorProto.FLOAT, ["batch", 1, 1, 1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1, 4, 4])],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path
