"""Networks read back from ONNX files; the files are written here by hand, without the exporter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from miniatures import TINY_PAPER
from thyroid_pipeline import contract
from thyroid_training.checkpoint import (
    CONFIG_KEY,
    PARAMETER_PREFIX,
    CheckpointError,
    config_metadata,
    load_resnet18,
    load_transunet,
    onnx_path,
    read_state_dict,
)
from thyroid_training.encoder import StandardisedConv2d
from thyroid_training.resnet18 import ResNet18
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import TransUNetConfig


def parameters_of(
    network: nn.Module,
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """As a file holds them: large ones in half precision, no counters of batches."""
    return {
        PARAMETER_PREFIX + name: value.numpy().astype(np.float16 if value.numel() > 1000 else None)
        for name, value in network.state_dict().items()
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


@pytest.fixture
def network(tiny_config: TransUNetConfig) -> TransUNet:
    torch.manual_seed(1)
    return TransUNet(tiny_config).eval()


@pytest.fixture
def metadata(tiny_config: TransUNetConfig) -> dict[str, str]:
    return config_metadata(tiny_config)


def test_transunet_comes_back_with_shape_and_weights(
    network: TransUNet, metadata: dict[str, str], tmp_path: Path
) -> None:
    with torch.no_grad():  # values that half precision holds exactly
        for value in network.state_dict().values():
            value.copy_(value.half())
    read = load_transunet(write(tmp_path / "model.onnx", parameters_of(network), metadata))
    assert read.config == network.config
    assert not read.training
    for name, value in network.state_dict().items():
        assert torch.equal(read.state_dict()[name], value), name
    picture = torch.randn(1, 1, 224, 224)
    with torch.no_grad():
        assert torch.equal(read(picture), network(picture))


def test_large_parameters_come_back_as_half_precision_left_them(
    network: TransUNet, metadata: dict[str, str], tmp_path: Path
) -> None:
    state = read_state_dict(write(tmp_path / "model.onnx", parameters_of(network), metadata))
    assert all(value.dtype == torch.float32 for value in state.values())
    large = "transformer.layers.0.mlp.0.weight"
    assert not torch.equal(state["head.weight"], torch.zeros(1))
    assert torch.equal(state["head.weight"], network.head.weight)
    assert torch.equal(state["transformer.position"], network.transformer.position.half().float())
    assert network.get_parameter(large).shape == state[large].shape


def test_standardised_kernels_are_not_standardised_twice(tmp_path: Path) -> None:
    config = TINY_PAPER
    parameters = parameters_of(TransUNet(config))
    read = load_transunet(write(tmp_path / "model.onnx", parameters, config_metadata(config)))
    kinds = [module for module in read.modules() if isinstance(module, StandardisedConv2d)]
    assert kinds
    assert all(module.folded for module in kinds)
    stem = read.get_parameter("encoder.stem.0.weight")
    picture = torch.randn(1, 3, 224, 224)
    plain = nn.functional.conv2d(picture, stem, stride=2, padding=3)
    with torch.no_grad():
        assert torch.equal(read.get_submodule("encoder.stem.0")(picture), plain)


def test_resnet18_comes_back(tmp_path: Path) -> None:
    network = ResNet18().eval()
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(value.half())
    read = load_resnet18(write(tmp_path / "model.onnx", parameters_of(network)))
    assert not read.training
    assert all(torch.equal(read.state_dict()[k], v) for k, v in network.state_dict().items())


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "foreign.onnx", {"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)})
    with pytest.raises(CheckpointError, match=r"foreign.onnx has no initializer named network\."):
        load_resnet18(path)
    with pytest.raises(CheckpointError, match=f"no metadata {CONFIG_KEY}.*thyroid-export onnx"):
        load_transunet(path)


def test_missing_parameter_is_named(
    network: TransUNet, metadata: dict[str, str], tmp_path: Path
) -> None:
    parameters = parameters_of(network)
    del parameters["network.head.bias"]
    path = write(tmp_path / "model.onnx", parameters, metadata)
    with pytest.raises(
        CheckpointError, match=r"TransUNet: 1 parameters are missing \(head.bias\).*export it again"
    ):
        load_transunet(path)


def test_foreign_parameter_is_named(
    network: TransUNet, metadata: dict[str, str], tmp_path: Path
) -> None:
    parameters = parameters_of(network) | {"network.tail.bias": np.zeros(1, np.float32)}
    path = write(tmp_path / "model.onnx", parameters, metadata)
    with pytest.raises(CheckpointError, match=r"1 parameters are foreign \(tail.bias\)"):
        load_transunet(path)


def test_parameter_of_another_shape_is_named(
    network: TransUNet, metadata: dict[str, str], tmp_path: Path
) -> None:
    parameters = parameters_of(network) | {"network.head.bias": np.zeros(2, np.float32)}
    path = write(tmp_path / "model.onnx", parameters, metadata)
    with pytest.raises(
        CheckpointError, match=r"of another shape \(head.bias \[2\] instead of \[1\]\)"
    ):
        load_transunet(path)


def test_one_network_is_not_read_as_the_other(
    network: TransUNet, metadata: dict[str, str], tmp_path: Path
) -> None:
    path = write(tmp_path / "model.onnx", parameters_of(network), metadata)
    with pytest.raises(CheckpointError, match=r"does not hold this ResNet18: 102 parameters"):
        load_resnet18(path)


@pytest.mark.parametrize(
    "text",
    ["not json", "[]", '{"image_size": 250}', '{"colour": 3}', '{"norm": "layer"}'],
)
def test_metadata_that_describes_no_network_is_refused(
    network: TransUNet, tmp_path: Path, text: str
) -> None:
    path = write(tmp_path / "model.onnx", parameters_of(network), {CONFIG_KEY: text})
    with pytest.raises(CheckpointError, match="describes no TransUNet"):
        load_transunet(path)


def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x89PNG not a model")
    for load in (read_state_dict, load_transunet, load_resnet18):
        with pytest.raises(CheckpointError, match=r"no ONNX file, or was cut short \(16 bytes\)"):
            load(path)


def test_a_file_cut_short_is_refused(
    network: TransUNet, metadata: dict[str, str], tmp_path: Path
) -> None:
    path = write(tmp_path / "model.onnx", parameters_of(network), metadata)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="cut short"):
        load_transunet(path)


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone.onnx does not exist: an ONNX file"):
        load_transunet(tmp_path / "gone.onnx")


def test_files_stand_where_triton_looks() -> None:
    path = onnx_path(Path("repository"), contract.TRANSUNET)
    assert path.as_posix() == "repository/transunet/1/model.onnx"
