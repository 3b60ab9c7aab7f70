"""Network to file to network: the ONNX file is the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from miniatures import TINY_COMPACT
from thyroid_export.export_onnx import load_graph, write_onnx
from thyroid_export.parity import Arrays, run_onnx, run_torch
from thyroid_export.parity_inputs import parity_inputs
from thyroid_pipeline import contract
from thyroid_training.checkpoint import load_segmentation_graph, read_state_dict
from thyroid_training.encoder import StandardisedConv2d, fold_standardisation
from thyroid_training.ood import fit_gate
from thyroid_training.serving import SegmentationGraph
from thyroid_training.transunet import TransUNet


def stored(graph: nn.Module) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """What a file should hold of a graph: kernels folded, large tensors as halves."""
    state = {name: value.numpy() for name, value in graph.state_dict().items()}
    for name, module in graph.named_modules():
        if isinstance(module, StandardisedConv2d) and not module.folded:
            kernels = module.weight.detach().numpy().astype(np.float64)
            mean = kernels.mean(axis=(1, 2, 3), keepdims=True)
            variance = kernels.var(axis=(1, 2, 3), keepdims=True)
            folded = (kernels - mean) / np.sqrt(variance + 1e-5)
            state[f"{name}.weight"] = folded.astype(np.float32)
    return {
        name: value.astype(np.float16).astype(np.float32) if value.size >= 1024 else value
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }


def test_parameters_come_back_exactly_or_as_halves(exported: Any) -> None:
    read, wanted = read_state_dict(exported.path), stored(exported.served)
    assert set(read) == set(wanted)
    folded = {
        f"{name}.weight"
        for name, module in exported.served.named_modules()
        if isinstance(module, StandardisedConv2d)
    }
    large = 0
    for name, value in wanted.items():
        if name in folded:  # torch and numpy differ in the last bit before it is rounded
            assert np.allclose(read[name].numpy(), value, rtol=2**-10, atol=1e-6), name
        else:
            assert np.array_equal(read[name].numpy(), value), name
        large += value.size >= 1024
    assert large > 10


def test_the_network_read_back_answers_as_it_did(exported: Any) -> None:
    inputs = parity_inputs(exported.model, 3, seed=40)
    before = run_torch(exported.graph(), exported.model, inputs)
    after = run_torch(load_graph(exported.path, exported.model), exported.model, inputs)
    served = run_onnx(exported.path, exported.model, inputs)
    for tensor in exported.model.outputs:
        for other in (after, served):
            first = before[tensor.name].astype(np.float64)
            second = other[tensor.name].astype(np.float64)
            difference = np.nanmax(np.abs(first - second))
            # Half precision rounds a weight by at most 2^-11; of what the weights spread the
            # answer over, that moves it by a little more.
            spread = {
                "evidence": float(np.ptp(first)),
                "malignancy": 1.0,
                "nodule_probability": 255.0,
                "ood_score": float(np.abs(first).max()),
                "decision": 50.0,  # a decision may fall the other way, at a limit
            }
            assert difference <= 0.02 * spread[tensor.name], (tensor.name, difference)
            assert np.array_equal(np.isnan(first), np.isnan(second))
    if exported.model == contract.TRANSUNET:  # an answer of one grey level would agree with all
        assert len(np.unique(before["nodule_probability"])) > 50


def test_config_comes_back(compact: Any, group: Any) -> None:
    for exported in (compact, group):
        read = load_segmentation_graph(exported.path)
        assert read.network.config == exported.network.config


def test_standardised_kernels_are_not_standardised_twice(group: Any) -> None:
    read = load_segmentation_graph(group.path).network
    name = "encoder.stages.0.0.layers.0"
    kernel = read.get_parameter(f"{name}.weight").detach().clone()
    # Its kernels were so small that epsilon shows: their variance is well below 1 ...
    assert kernel.var(dim=(1, 2, 3), correction=0).mean() < 0.9
    picture = torch.randn(1, kernel.shape[1], 8, 8)
    with torch.no_grad():
        answer = read.get_submodule(name)(picture)
        assert torch.equal(answer, nn.functional.conv2d(picture, kernel))
    # ... and folding for a further export leaves them there.
    fold_standardisation(read)
    assert torch.equal(read.get_parameter(f"{name}.weight"), kernel)


def test_a_network_read_back_is_stored_as_it_was(compact: Any) -> None:
    """Rounding to half precision happens once: files do not drift through export and reading."""
    read = load_segmentation_graph(compact.path)
    first, again = read_state_dict(compact.path), stored(read)
    assert set(first) == set(again)
    assert all(np.array_equal(first[name].numpy(), again[name]) for name in first)


def scores(outputs: Arrays) -> NDArray[np.float64]:
    return outputs[contract.OOD_SCORE.name].astype(np.float64)


def test_a_gate_of_several_sets_comes_back(tmp_path: Path) -> None:
    """Of two sets the file keeps both, under their own names, and answers with the nearer one."""
    torch.manual_seed(3)
    network = TransUNet(TINY_COMPACT).eval()
    rng = np.random.default_rng(0)
    shape = (30, network.feature_count)
    sets = [rng.normal(centre, 1, shape).astype(np.float32) for centre in (0.0, 0.2)]
    graph = SegmentationGraph(network, fit_gate(sets, [1.5, 2.5])).eval()
    path = tmp_path / "model.onnx"
    assert write_onnx(graph, path) == contract.TRANSUNET
    read = load_segmentation_graph(path)
    assert read.gate.mean.shape == (2, 1, network.feature_count)
    assert torch.equal(read.gate.limit, graph.gate.limit)
    (frames,) = parity_inputs(contract.TRANSUNET, 3, seed=60)
    before = scores(run_torch(graph, contract.TRANSUNET, [frames]))
    again = scores(run_torch(read, contract.TRANSUNET, [frames]))
    served = scores(run_onnx(path, contract.TRANSUNET, [frames]))
    assert np.allclose(again, before, rtol=5e-3)
    assert np.allclose(served, again, rtol=1e-3)
    alone = [
        scores(
            run_torch(
                SegmentationGraph(network, fit_gate([known], [limit])),
                contract.TRANSUNET,
                [frames],
            )
        )
        for known, limit in zip(sets, (1.5, 2.5), strict=True)
    ]
    assert np.allclose(before, np.minimum(*alone), rtol=1e-4)
