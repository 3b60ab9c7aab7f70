"""How long the networks of the curve of accuracy against time take, side by side.

Weights do not matter to the time, so that no fit is wanted: a variant begins with the published
encoder and is drawn at random behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch

from thyroid_benchmarks.estimates import Estimate, percentile
from thyroid_export.onnx_graph import export_graph, halve_parameters
from thyroid_pipeline import contract
from thyroid_server.onnx_config import session_options
from thyroid_training.curve_variants import variants
from thyroid_training.published_weights import start_resnet18, start_transunet
from thyroid_training.serving import ClassificationGraph, SegmentationGraph

Run = Callable[[], object]


def export_variants(document: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Export every network of the curve as it would be served.

    Args:
        document: `accuracy_curve.json`, read; its networks are exported.
        folder: That exists; the ONNX files go there.

    Returns:
        The files by the variants' names.
    """
    torch.manual_seed(0)
    files = {row["name"]: folder / f"{row['name']}.onnx" for row in _rows(document)}
    for row in _transunets(document):
        network = start_transunet(variants()[row["name"]], None)
        _save(SegmentationGraph(network), contract.TRANSUNET, files[row["name"]])
    for row in document["classification"]:
        model = _resnet18_with_side(row["side_px"])
        _save(ClassificationGraph(start_resnet18(None)), model, files[row["name"]])
    return files


def open_variants(files: Mapping[str, Path], threads: int, seed: int) -> dict[str, Run]:
    """Open each file in a session of its own, as the server would.

    Args:
        files: ONNX files by name.
        threads: Of each session; they do not spin.
        seed: Of the one image that each is given again and again.

    Returns:
        By name what runs the network once on a batch of 1.
    """
    options = {
        "parameters": {
            "intra_op_thread_count": {"string_value": str(threads)},
            "inter_op_thread_count": {"string_value": "1"},
        }
    }
    generator = np.random.default_rng(seed)
    runs: dict[str, Run] = {}
    for name, path in files.items():
        session = onnxruntime.InferenceSession(
            str(path), session_options(options), providers=["CPUExecutionProvider"]
        )
        runs[name] = _runner(session, generator)
    return runs


def time_in_turns(
    runs: Mapping[tuple[str, int], Run],
    rounds: int,
    *,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[tuple[str, int], Estimate]:
    """Time all in turns: the median milliseconds of each of `turns_ms`, with its interval."""
    times_ms = turns_ms(runs, rounds, seed=seed, clock=clock)
    return {key: percentile(np.array(values), 50) for key, values in times_ms.items()}


def turns_ms(
    runs: Mapping[tuple[str, int], Run],
    rounds: int,
    *,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[tuple[str, int], list[float]]:
    """Time all in every round, in an order drawn anew, so that a slow moment hits all alike.

    Args:
        runs: What is timed, by name and number of threads.
        rounds: How often each is timed, from 1; one round more before warms up and is not counted.
        seed: Of the orders.
        clock: Seconds.

    Returns:
        Milliseconds of each, round by round.

    Raises:
        ValueError: There is no round.
    """
    if rounds < 1:
        raise ValueError(f"{rounds} rounds came; at least 1 was wanted: give more")
    generator = np.random.default_rng(seed)
    keys = list(runs)
    times_ms: dict[tuple[str, int], list[float]] = {key: [] for key in keys}
    for number in range(rounds + 1):
        for place in generator.permutation(len(keys)):
            key = keys[place]
            begun = clock()
            runs[key]()
            if number > 0:
                times_ms[key].append(1000 * (clock() - begun))
    return times_ms


def times_document(
    times: Mapping[tuple[str, int], Estimate], thread_counts: Sequence[int], rounds: int
) -> dict[str, Any]:
    """Return the times as `accuracy_curve.json` has them: by name, then by number of threads."""
    names = dict.fromkeys(name for name, _ in times)
    return {
        "threads": list(thread_counts),
        "rounds": rounds,
        "method": "batch of 1, all networks in turns in random order, the first round left out; "
        "median with its distribution-free interval",
        "median_ms": {
            name: {str(count): times[name, count].as_dict() for count in thread_counts}
            for name in names
        },
    }


def _rows(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*_transunets(document), *document["classification"]]


def _transunets(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*document["segmentation"], *document.get("unfitted", ())]


def _resnet18_with_side(side_px: int) -> contract.Model:
    """ResNet-18 as the contract has it, but for the side of its region and of its evidence."""
    cells = side_px // (contract.ROI_SIDE_PX // contract.EVIDENCE_SIDE)
    shapes = {contract.ROI: (1, side_px, side_px), contract.EVIDENCE: (cells, cells)}
    model = contract.RESNET18

    def sized(tensors: Sequence[contract.Tensor]) -> tuple[contract.Tensor, ...]:
        return tuple(replace(tensor, shape=shapes.get(tensor, tensor.shape)) for tensor in tensors)

    return replace(model, inputs=sized(model.inputs), outputs=sized(model.outputs))


def _save(graph: torch.nn.Module, model: contract.Model, path: Path) -> None:
    onnx.save(halve_parameters(export_graph(graph, model)), path)


def _runner(session: onnxruntime.InferenceSession, generator: np.random.Generator) -> Run:
    """Bind a session to one image and, for ResNet-18, to a nodule that was found in it."""
    inputs: dict[str, npt.NDArray[Any]] = {
        contract.NODULE_FOUND.name: np.ones((1, 1), np.bool_),
        contract.OOD_SCORE.name: np.zeros((1, 1), np.float32),
    }
    nodes = {node.name: node.shape[1:] for node in session.get_inputs()}
    for name in (contract.FRAME.name, contract.ROI.name):
        if name in nodes:
            inputs[name] = generator.integers(0, 256, (1, *nodes[name]), np.uint8)
    given = {name: inputs[name] for name in nodes}
    return lambda: session.run(None, given)
