"""Reading networks back from the ONNX files that Triton serves: the ONNX file is the checkpoint.

`thyroid_export` keeps every parameter's name and writes the network's shape into the file's
metadata, so a file alone gives the network back, to be trained on, evaluated or exported again.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor, nn

from thyroid_pipeline import contract
from thyroid_training.encoder import StandardisedConv2d
from thyroid_training.ood import OodGate
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import ClassificationGraph, SegmentationGraph
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import TransUNetConfig

# The serving graphs (thyroid_training.serving) hold the network under this name.
PARAMETER_PREFIX = "network."
_SERVED_WITH = ("gate.", "calibration", "operating_point")
CONFIG_KEY = "thyroid_triton.transunet_config"


class CheckpointError(ValueError):
    """An ONNX file holds no such network."""


def onnx_path(model_repository: Path, model: contract.Model) -> Path:
    """Where a network's ONNX file stands in a model repository."""
    return model_repository / model.name / contract.MODEL_VERSION / contract.ONNX_FILE


def config_metadata(config: TransUNetConfig) -> dict[str, str]:
    """The metadata that lets `load_segmentation_graph` build the network again."""
    return {CONFIG_KEY: json.dumps(asdict(config))}


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read everything that an exported graph holds: the network, and what is served with it.

    Args:
        path: The ONNX file.

    Returns:
        Name to FP32 tensor, under the graph's own names; those of the network begin with
        `PARAMETER_PREFIX`. Counters of batches, which no graph uses, are not in the file.

    Raises:
        CheckpointError: The file is no ONNX file, or holds no parameter of ours.
        FileNotFoundError: There is no such file.
    """
    return _state_dict(_read(path), path)


def _read(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: an ONNX file was wanted, as `thyroid-export onnx` writes it"
        )
    try:
        return onnx.load(path)
    except DecodeError as error:
        raise CheckpointError(
            f"{path} is no ONNX file, or was cut short ({path.stat().st_size:,} bytes); a file "
            "written by `thyroid-export onnx` was wanted: fetch or export it again"
        ) from error


def _state_dict(model: onnx.ModelProto, path: Path) -> dict[str, Tensor]:
    state = {
        initializer.name: torch.from_numpy(np.array(numpy_helper.to_array(initializer), np.float32))
        for initializer in model.graph.initializer
        if initializer.name.startswith((PARAMETER_PREFIX, *_SERVED_WITH))
    }
    if not any(name.startswith(PARAMETER_PREFIX) for name in state):
        raise CheckpointError(
            f"{path} has no initializer named {PARAMETER_PREFIX}*; a file written by "
            "`thyroid-export onnx` was wanted, which keeps the parameters' names"
        )
    return state


def _load(graph: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    wanted = graph.state_dict()
    faults = {
        "missing": [
            name
            for name in wanted
            if name not in state and not name.endswith("num_batches_tracked")
        ],
        "foreign": [name for name in state if name not in wanted],
        "of another shape": [
            f"{name} {list(value.shape)} instead of {list(wanted[name].shape)}"
            for name, value in state.items()
            if name in wanted and value.shape != wanted[name].shape
        ],
    }
    found = [
        f"{len(names)} parameters are {fault} ({', '.join(names[:3])})"
        for fault, names in faults.items()
        if names
    ]
    if found:
        raise CheckpointError(
            f"{path} does not hold this {type(graph).__name__}: {'; '.join(found)}. Give the "
            "file of this network, or export it again with `thyroid-export onnx`"
        )
    graph.load_state_dict(state, strict=False)  # all but the counters of batches
    graph.eval()


def load_segmentation_graph(path: Path) -> SegmentationGraph:
    """Read a TransUNet, shape, weights and gate, from its ONNX file.

    A network with weight standardisation comes back folded, as the file has it.

    Raises:
        CheckpointError: The file holds none.
        FileNotFoundError: There is no such file.
    """
    model = _read(path)
    network, state = TransUNet(_read_config(model, path)), _state_dict(model, path)
    graph = SegmentationGraph(network, OodGate.shaped_as(state, network.feature_count))
    _load(graph, state, path)
    for module in network.modules():
        if isinstance(module, StandardisedConv2d):
            module.folded = True  # export folds them: the file holds standardised kernels
    return graph


def _read_config(model: onnx.ModelProto, path: Path) -> TransUNetConfig:
    metadata = {item.key: item.value for item in model.metadata_props}
    if CONFIG_KEY not in metadata:
        raise CheckpointError(
            f"{path} has no metadata {CONFIG_KEY}; a TransUNet written by `thyroid-export onnx` "
            "was wanted"
        )
    try:
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in json.loads(metadata[CONFIG_KEY]).items()
        }
        return TransUNetConfig(**values)
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} has metadata {CONFIG_KEY} that describes no TransUNet ({error}); export it "
            "again with the `thyroid-export onnx` of this version"
        ) from error


def load_classification_graph(path: Path) -> ClassificationGraph:
    """Read a ResNet-18, weights, calibration and operating point, from its ONNX file.

    Raises:
        CheckpointError: The file holds none.
        FileNotFoundError: There is no such file.
    """
    graph = ClassificationGraph(ResNet18())
    _load(graph, read_state_dict(path), path)
    return graph
