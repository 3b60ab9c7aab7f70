"""From a training run to an ONNX file in the repository, compared with PyTorch and recorded."""

from __future__ import annotations

from pathlib import Path

import onnx

from thyroid_export.manifest import Artefact, describe, record
from thyroid_export.onnx_graph import ExportError, export_graph, halve_parameters
from thyroid_export.parity import Parity, check_parity
from thyroid_export.parity_inputs import parity_inputs
from thyroid_pipeline import contract
from thyroid_training.checkpoint import (
    config_metadata,
    load_classification_graph,
    load_segmentation_graph,
    onnx_path,
)
from thyroid_training.ood import OodGate
from thyroid_training.resnet18 import ResNet18
from thyroid_training.runs import Run
from thyroid_training.serving import ClassificationGraph, SegmentationGraph
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import SIZES

_PARITY_COUNT = 8


def load_graph(path: Path, model: contract.Model) -> SegmentationGraph | ClassificationGraph:
    """Read a network back from its ONNX file, as it is served."""
    if model == contract.TRANSUNET:
        return load_segmentation_graph(path)
    return load_classification_graph(path)


def write_onnx(graph: SegmentationGraph | ClassificationGraph, path: Path) -> contract.Model:
    """Export a network as it is served, parameters in half precision.

    Args:
        graph: Trained.
        path: The file to write; its folder is made.

    Returns:
        The model of the contract that the file serves.

    Raises:
        ExportError: A parameter lost its name or its range.
    """
    if isinstance(graph, SegmentationGraph):
        model, metadata = contract.TRANSUNET, config_metadata(graph.network.config)
    else:
        model, metadata = contract.RESNET18, {}
    exported = export_graph(graph, model, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(halve_parameters(exported), path)
    return model


def export_run(run_folder: Path, repository: Path) -> Artefact:
    """Export a training run into the repository.

    Args:
        run_folder: Of `thyroid-train final`.
        repository: The model repository.

    Returns:
        The manifest's new entry.

    Raises:
        ExportError: The run names no network of ours, or a parameter was lost.
        FileNotFoundError: The run holds no record or no weights.
        ParityError: The file does not answer as PyTorch does. It stays beside the served one for a
            look, as *.candidate.onnx; what is served and recorded is left as it was.
        RunError: The run's weights are not the network's that its record names.
    """
    run = Run(run_folder)
    source = run.read_record()
    graph = _empty_graph(str(source.get("network")), run)
    run.load_into(graph)
    model = contract.TRANSUNET if isinstance(graph, SegmentationGraph) else contract.RESNET18
    path = onnx_path(repository, model)
    candidate = path.with_suffix(".candidate.onnx")
    write_onnx(graph, candidate)
    # Against the weights as the file holds them: half precision is a choice, not a difference
    # between runtimes.
    inputs = parity_inputs(model, _PARITY_COUNT, seed=0)
    figures = check_parity(load_graph(candidate, model), candidate, model, inputs)
    candidate.replace(path)
    artefact = describe(repository, path, source, figures)
    record(repository, artefact)
    return artefact


def _empty_graph(name: str, run: Run) -> SegmentationGraph | ClassificationGraph:
    """The graph of the shape that a run's weights want."""
    if name == "resnet18":
        return ClassificationGraph(ResNet18())
    size = name.removeprefix("transunet-")
    if size in SIZES:
        network, state = TransUNet(SIZES[size]), run.read_state()
        return SegmentationGraph(network, OodGate.shaped_as(state, network.feature_count))
    raise ExportError(
        f"{run.record} says `network` is {name!r}; resnet18 or transunet-"
        f"{'|'.join(SIZES)} was wanted: give the folder of a `thyroid-train` run"
    )


def check_repository(repository: Path, count: int, seed: int) -> list[Parity]:
    """Compare every network of a repository with PyTorch.

    Args:
        repository: The model repository.
        count: Number of phantoms.
        seed: Of the first.

    Returns:
        The figures of every output.

    Raises:
        ParityError: An output is beyond its tolerance.
        FileNotFoundError: A network's file is missing.
    """
    figures = []
    for model in contract.NETWORKS:
        path = onnx_path(repository, model)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist: export it with `thyroid-export onnx --run FOLDER`"
            )
        inputs = parity_inputs(model, count, seed)
        figures += check_parity(load_graph(path, model), path, model, inputs)
    return figures
