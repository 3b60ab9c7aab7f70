"""What is quantised: told from the graph's own structure, in miniature and as it is shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from thyroid_export.int8_graph import Scope, int8_nodes
from thyroid_export.int8_quantise import Setting, fold, quantise
from thyroid_export.mixed_parity import segmentation_set
from thyroid_export.parity import TOLERANCES, run_onnx
from thyroid_export.parity_inputs import parity_inputs, phantom_frames
from thyroid_pipeline import contract
from thyroid_pipeline.plan_manifest import network_path


@pytest.fixture(scope="module")
def folded(
    miniature_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[contract.Model, Path]:
    """Both networks of the miniature repository, folded."""
    folder = tmp_path_factory.mktemp("folded")
    files = {model: folder / f"{model.name}.onnx" for model in contract.NETWORKS}
    for model, path in files.items():
        fold(network_path(miniature_repository, model.name), path)
    return files


def shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    return {each.name: tuple(each.dims) for each in model.graph.initializer}


def convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "Conv"]


def stride(node: onnx.NodeProto) -> int:
    return max(next((each.ints for each in node.attribute if each.name == "strides"), [1]))


def leads_to_integers(model: onnx.ModelProto, tensor: str) -> bool:
    """Whether a tensor is quantised, itself or behind an activation."""
    return any(
        node.op_type == "QuantizeLinear"
        or (node.op_type in {"Clip", "Relu"} and leads_to_integers(model, node.output[0]))
        for node in model.graph.node
        if tensor in node.input
    )


@pytest.mark.parametrize("model", contract.NETWORKS, ids=lambda model: model.name)
def test_folding_changes_no_answer(
    miniature_repository: Path, folded: dict[contract.Model, Path], model: contract.Model
) -> None:
    kinds = {node.op_type for node in onnx.load(folded[model]).graph.node}
    assert not kinds & {"BatchNormalization", "Expand"}
    inputs = parity_inputs(model, 3, seed=1)
    wanted = run_onnx(network_path(miniature_repository, model.name), model, inputs)
    got = run_onnx(folded[model], model, inputs)
    for name, values in wanted.items():
        np.testing.assert_allclose(
            got[name].astype(float), values.astype(float), atol=TOLERANCES[name]
        )


@pytest.mark.parametrize("model", contract.NETWORKS, ids=lambda model: model.name)
def test_scopes_hold_what_they_say(
    folded: dict[contract.Model, Path], model: contract.Model
) -> None:
    graph = onnx.load(folded[model])
    # Those of a stride beyond 2 bring the frame to the network's side, and are no part of it.
    *leading, last = (node for node in convolutions(graph) if stride(node) <= 2)
    outside = {node.name for node in convolutions(graph) if stride(node) > 2}
    assert bool(outside) == (model == contract.TRANSUNET)
    weights = {node.name: shapes(graph)[node.input[1]] for node in leading}
    # A convolution is depthwise where each of its kernels sees one channel of several.
    depthwise = {name for name, shape in weights.items() if shape[1] == 1 and shape[0] > 1}
    depthwise -= {leading[0].name}  # of the one grey channel
    inner = set(weights) - {leading[0].name}
    wide = {name for name in inner - depthwise if weights[name][2:] != (1, 1)}
    assert len(wide) < len(inner)
    for scope, wanted in ((Scope.ALL, set(weights)), (Scope.INNER, inner), (Scope.WIDE, wide)):
        nodes = int8_nodes(graph, scope)
        assert {node.name for node in nodes if node.op_type == "Conv"} == wanted
        assert not {last.name, *outside} & {node.name for node in nodes}
        kinds = {node.op_type for node in nodes}
        assert kinds <= {"Add", "Clip", "Concat", "Conv", "MaxPool", "Relu", "Resize"}


def test_the_tail_of_the_classifier_stays(folded: dict[contract.Model, Path]) -> None:
    """The means of the stages and what joins them lead to nothing but the linear layer."""
    graph = onnx.load(folded[contract.RESNET18])
    chosen = {node.name for node in int8_nodes(graph, Scope.ALL)}
    for kind, count in (("AveragePool", 3), ("Concat", 1), ("Sigmoid", 1)):
        tail = [node for node in graph.graph.node if node.op_type == kind]
        assert len(tail) == count
        assert not chosen & {node.name for node in tail}
    sums = [node.name for node in graph.graph.node if node.op_type == "Add"]
    assert chosen & set(sums)  # the residuals, but for the last stage's


@pytest.mark.parametrize("scope", Scope)
def test_a_quantised_file_holds_int8_where_it_was_chosen(
    folded: dict[contract.Model, Path], tmp_path: Path, scope: Scope
) -> None:
    frames = segmentation_set(phantom_frames(2, seed=3))
    setting = Setting(scope)
    before = onnx.load(folded[contract.TRANSUNET])
    chosen = {node.name for node in int8_nodes(before, setting.scope) if node.op_type == "Conv"}
    made = quantise(
        folded[contract.TRANSUNET], contract.TRANSUNET, setting, frames, tmp_path / "int8.onnx"
    )
    assert (made.convolutions, made.all_convolutions) == (len(chosen), len(convolutions(before)))
    after = onnx.load(made.path)
    constants = {each.name: each for each in after.graph.initializer}
    makers = {name: node for node in after.graph.node for name in node.output}
    for node in convolutions(after):
        weight = makers.get(node.input[1])
        if node.name not in chosen:
            assert weight is None
            # Between two in INT8, ONNX Runtime would quantise it as it loads the file.
            taken = getattr(makers.get(node.input[0]), "op_type", None)
            assert taken != "DequantizeLinear" or not leads_to_integers(after, node.output[0])
            continue
        assert makers[node.input[0]].op_type == "DequantizeLinear"
        assert weight is not None
        integers, scales = (numpy_helper.to_array(constants[weight.input[at]]) for at in (0, 1))
        assert integers.dtype == np.int8
        assert scales.shape == (len(integers),)  # a scale for each channel
    probability = run_onnx(made.path, contract.TRANSUNET, frames.inputs)["nodule_probability"]
    assert probability.dtype == np.uint8
    assert len(np.unique(probability)) > 20


def test_a_graph_without_such_a_convolution_is_refused() -> None:
    weight = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weight"], ["y"], name="only")],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 6, 6])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    assert onnxruntime.InferenceSession(model.SerializeToString()).get_outputs()
    with pytest.raises(
        ValueError, match="the graph has 0 convolutions with parameters named network"
    ):
        int8_nodes(model, Scope.ALL)
