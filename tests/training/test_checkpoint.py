"""Networks read back from ONNX files; the files are written here by hand, without the exporter."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from miniatures import TINY_COMPACT, TINY_PAPER
from thyroid_pipeline import contract
from thyroid_training.calibration import Calibration
from thyroid_training.checkpoint import (
    CONFIG_KEY,
    PARAMETER_PREFIX,
    CheckpointError,
    config_metadata,
    load_classification_graph,
    load_segmentation_graph,
    onnx_path,
    read_state_dict,
)
from thyroid_training.encoder import StandardisedConv2d
from thyroid_training.ood import fit_gate
from thyroid_training.operating_point import OperatingPoint
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import ClassificationGraph, SegmentationGraph
from thyroid_training.transunet import TransUNet


def parameters_of(
    graph: SegmentationGraph | ClassificationGraph,
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """As a file holds them: large ones in half precision, no counters of batches."""
    return {
        name: value.numpy().astype(np.float16 if value.numel() > 1000 else None)
        for name, value in graph.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def write(
    path: Path,
    parameters: Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]],
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """A file of initializers alone: which graph stands around them is not the reader's concern."""
    graph = helper.make_graph(
        [], "by hand", [], [], [numpy_helper.from_array(v, k) for k, v in parameters.items()]
    )
    model = helper.make_model(graph)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, path)
    return path


def round_to_half(graph: nn.Module) -> None:
    """Values that half precision holds exactly."""
    with torch.no_grad():
        for value in graph.state_dict().values():
            value.copy_(value.half())


@pytest.fixture(scope="module")
def graph() -> SegmentationGraph:
    """With a gate of two sets."""
    torch.manual_seed(1)
    network = TransUNet(TINY_COMPACT)
    features = np.random.default_rng(0).normal(0, 1, (2, 12, network.feature_count))
    gate = fit_gate(list(features.astype(np.float32)), [1.5, 2.5])
    return SegmentationGraph(network, gate).eval()


METADATA = config_metadata(TINY_COMPACT)
FRAME = torch.randint(0, 256, (1, *contract.FRAME.shape), dtype=torch.uint8)


def test_transunet_comes_back_with_shape_weights_and_gate(
    graph: SegmentationGraph, tmp_path: Path
) -> None:
    exact = copy.deepcopy(graph)
    round_to_half(exact)
    read = load_segmentation_graph(write(tmp_path / "model.onnx", parameters_of(exact), METADATA))
    assert read.network.config == TINY_COMPACT
    assert not read.training
    assert not read.network.training
    for name, value in exact.state_dict().items():
        assert torch.equal(read.state_dict()[name], value), name
    with torch.no_grad():
        for got, wanted in zip(read(FRAME), exact(FRAME), strict=True):
            assert torch.equal(got, wanted)
        assert exact(FRAME)[1] > 0


def test_an_empty_gate_comes_back_empty(tmp_path: Path) -> None:
    plain = SegmentationGraph(TransUNet(TINY_COMPACT)).eval()
    read = load_segmentation_graph(write(tmp_path / "model.onnx", parameters_of(plain), METADATA))
    assert read.gate.mean.shape[0] == 1
    with torch.no_grad():
        assert read(FRAME)[1] == 0


def test_a_file_without_a_gate_is_refused(graph: SegmentationGraph, tmp_path: Path) -> None:
    """Of an earlier contract: it would be served without knowing what is strange."""
    parameters = {
        name: value for name, value in parameters_of(graph).items() if not name.startswith("gate.")
    }
    path = write(tmp_path / "model.onnx", parameters, METADATA)
    with pytest.raises(CheckpointError, match=r"3 parameters are missing \(gate.mean, gate"):
        load_segmentation_graph(path)


def test_large_parameters_come_back_as_half_precision_left_them(
    graph: SegmentationGraph, tmp_path: Path
) -> None:
    state = read_state_dict(write(tmp_path / "model.onnx", parameters_of(graph), METADATA))
    assert all(value.dtype == torch.float32 for value in state.values())
    own = graph.state_dict()
    assert set(state) == {name for name in own if not name.endswith("num_batches_tracked")}
    small, large = "network.head.weight", "network.transformer.position"
    assert torch.equal(state[small], own[small])
    assert torch.equal(state[large], own[large].half().float())
    assert not torch.equal(state[large], own[large])
    assert torch.equal(state["gate.limit"], own["gate.limit"])


def test_standardised_kernels_are_not_standardised_twice(tmp_path: Path) -> None:
    config = TINY_PAPER
    parameters = parameters_of(SegmentationGraph(TransUNet(config)))
    path = write(tmp_path / "model.onnx", parameters, config_metadata(config))
    read = load_segmentation_graph(path).network
    kinds = [module for module in read.modules() if isinstance(module, StandardisedConv2d)]
    assert kinds
    assert all(module.folded for module in kinds)
    stem = read.get_parameter("encoder.stem.0.weight")
    picture = torch.randn(1, 3, 224, 224)
    plain = nn.functional.conv2d(picture, stem, stride=2, padding=3)
    with torch.no_grad():
        assert torch.equal(read.get_submodule("encoder.stem.0")(picture), plain)


def test_resnet18_comes_back_with_calibration_and_operating_point(tmp_path: Path) -> None:
    point = OperatingPoint(routine_below=0.25, refer_from=0.625, threshold=0.5)
    graph = ClassificationGraph(ResNet18(), Calibration(0.75, -1.5), point).eval()
    round_to_half(graph)
    read = load_classification_graph(write(tmp_path / "model.onnx", parameters_of(graph)))
    assert not read.training
    assert all(torch.equal(read.state_dict()[k], v) for k, v in graph.state_dict().items())
    assert read.calibration.tolist() == [0.75, -1.5]
    assert read.operating_point.tolist() == [0.25, 0.625]


@pytest.mark.parametrize("name", ["calibration", "operating_point"])
def test_a_classifier_without_its_numbers_is_refused(tmp_path: Path, name: str) -> None:
    parameters = parameters_of(ClassificationGraph(ResNet18()))
    del parameters[name]
    path = write(tmp_path / "model.onnx", parameters)
    with pytest.raises(CheckpointError, match=rf"1 parameters are missing \({name}\)"):
        load_classification_graph(path)


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "foreign.onnx", {"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)})
    with pytest.raises(CheckpointError, match=r"foreign.onnx has no initializer named network\."):
        load_classification_graph(path)
    with pytest.raises(CheckpointError, match=f"no metadata {CONFIG_KEY}.*thyroid-export onnx"):
        load_segmentation_graph(path)


def test_what_is_served_with_a_network_is_none_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx", {"gate.mean": np.zeros((1, 1, 4), np.float32)})
    with pytest.raises(CheckpointError, match=f"no initializer named {PARAMETER_PREFIX}"):
        read_state_dict(path)


def test_missing_parameter_is_named(graph: SegmentationGraph, tmp_path: Path) -> None:
    parameters = parameters_of(graph)
    del parameters["network.head.bias"]
    path = write(tmp_path / "model.onnx", parameters, METADATA)
    with pytest.raises(
        CheckpointError,
        match=r"SegmentationGraph: 1 parameters are missing \(network.head.bias\).*export it again",
    ):
        load_segmentation_graph(path)


def test_foreign_parameter_is_named(graph: SegmentationGraph, tmp_path: Path) -> None:
    parameters = parameters_of(graph) | {"network.tail.bias": np.zeros(1, np.float32)}
    path = write(tmp_path / "model.onnx", parameters, METADATA)
    with pytest.raises(CheckpointError, match=r"1 parameters are foreign \(network.tail.bias\)"):
        load_segmentation_graph(path)


def test_parameter_of_another_shape_is_named(graph: SegmentationGraph, tmp_path: Path) -> None:
    parameters = parameters_of(graph) | {"network.head.bias": np.zeros(2, np.float32)}
    path = write(tmp_path / "model.onnx", parameters, METADATA)
    with pytest.raises(
        CheckpointError, match=r"of another shape \(network.head.bias \[2\] instead of \[1\]\)"
    ):
        load_segmentation_graph(path)


def test_one_network_is_not_read_as_the_other(graph: SegmentationGraph, tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx", parameters_of(graph), METADATA)
    with pytest.raises(
        CheckpointError, match=r"does not hold this ClassificationGraph: \d+ parameters are missing"
    ):
        load_classification_graph(path)


@pytest.mark.parametrize(
    "text",
    ["not json", "[]", '{"image_size": 250}', '{"colour": 3}', '{"encoder": "vgg"}'],
)
def test_metadata_that_describes_no_network_is_refused(
    graph: SegmentationGraph, tmp_path: Path, text: str
) -> None:
    path = write(tmp_path / "model.onnx", parameters_of(graph), {CONFIG_KEY: text})
    with pytest.raises(CheckpointError, match="describes no TransUNet"):
        load_segmentation_graph(path)


def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x89PNG not a model")
    for load in (read_state_dict, load_segmentation_graph, load_classification_graph):
        with pytest.raises(CheckpointError, match=r"no ONNX file, or was cut short \(16 bytes\)"):
            load(path)


def test_a_file_cut_short_is_refused(graph: SegmentationGraph, tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx", parameters_of(graph), METADATA)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="cut short"):
        load_segmentation_graph(path)


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone.onnx does not exist: an ONNX file"):
        load_segmentation_graph(tmp_path / "gone.onnx")


def test_files_stand_where_triton_looks() -> None:
    path = onnx_path(Path("repository"), contract.TRANSUNET)
    assert path.as_posix() == "repository/transunet/1/model.onnx"
