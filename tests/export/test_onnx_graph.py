"""The exported files: what TensorRT and Triton want of them, and what they may not carry."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from thyroid_export.onnx_graph import ExportError, export_graph, halve_parameters
from thyroid_export.parity_inputs import parity_inputs
from thyroid_pipeline import contract
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import ClassificationGraph

CHECKOUT = Path(__file__).resolve().parents[2]
Answer = tuple[Tensor, Tensor, Tensor]


def consumers(model: onnx.ModelProto, name: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if name in node.input]


def session_of(path: Path, **options: Any) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    for name, value in options.items():
        setattr(settings, name, value)
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def test_is_valid_and_of_opset_18(exported: Any) -> None:
    model = exported.load()
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert model.ir_version <= 10  # what ONNX Runtime 1.19 and TensorRT 10 read


def test_has_standard_operators_only(exported: Any) -> None:
    model = exported.load()
    assert {node.domain for node in model.graph.node} == {""}
    assert len(model.functions) == 0
    operators = Counter(node.op_type for node in model.graph.node)
    assert not {"RoiAlign", "NonMaxSuppression", "If", "Loop", "Scan", "NonZero"} & set(operators)
    if exported.model == contract.TRANSUNET:
        # TensorRT fuses attention where the scale is applied before the product, not behind it.
        makers = {name: node.op_type for node in model.graph.node for name in node.output}
        softmaxes = [node for node in model.graph.node if node.op_type == "Softmax"]
        assert {makers[node.input[0]] for node in softmaxes} == {"MatMul"}
        assert operators["Softmax"] == exported.network.config.vit_depth
        assert operators["LayerNormalization"] == 2 * exported.network.config.vit_depth + 1


def test_tensors_are_the_contracts(exported: Any) -> None:
    graph = exported.load().graph
    types = {
        "UINT8": TensorProto.UINT8,
        "INT32": TensorProto.INT32,
        "FP32": TensorProto.FLOAT,
        "BOOL": TensorProto.BOOL,
    }
    for values, tensors in (
        (graph.input, exported.model.inputs),
        (graph.output, exported.model.outputs),
    ):
        assert [value.name for value in values] == [tensor.name for tensor in tensors]
        for value, tensor in zip(values, tensors, strict=True):
            kind = value.type.tensor_type
            assert kind.elem_type == types[tensor.data_type.value]
            batch, *sides = kind.shape.dim
            assert batch.dim_param == "batch"
            assert tuple(side.dim_value for side in sides) == tensor.shape


def test_bytes_go_into_a_cast_and_nowhere_else(exported: Any) -> None:
    """TensorRT takes UINT8 into nothing else, and gives it from nothing else."""
    model = exported.load()
    of_bytes = [
        value.name
        for value in (*model.graph.input, *model.graph.output)
        if value.type.tensor_type.elem_type == TensorProto.UINT8
    ]
    assert of_bytes
    for name in of_bytes:
        users = consumers(model, name)
        makers = [node for node in model.graph.node if name in node.output]
        assert users or makers
        assert {node.op_type for node in (*users, *makers)} == {"Cast"}
    to_bytes = [
        node
        for node in model.graph.node
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.UINT8
    ]
    assert {name for node in to_bytes for name in node.output} <= set(of_bytes)


def test_every_parameter_is_there_under_its_own_name(exported: Any) -> None:
    names = {initializer.name for initializer in exported.load().graph.initializer}
    wanted = {
        name for name in exported.served.state_dict() if not name.endswith("num_batches_tracked")
    }
    assert wanted <= names
    assert {name for name in names if name.startswith("network.")} <= wanted


def test_large_parameters_are_halves_behind_one_cast_each(exported: Any) -> None:
    model = exported.load()
    halves = 0
    for initializer in model.graph.initializer:
        size = math.prod(initializer.dims)
        if initializer.data_type == TensorProto.FLOAT16:
            halves += size
            assert size >= 1024
            (cast,) = consumers(model, initializer.name)
            assert cast.op_type == "Cast"
            assert cast.attribute[0].i == TensorProto.FLOAT
        elif initializer.data_type == TensorProto.FLOAT:
            assert size < 1024, initializer.name
    total = sum(value.numel() for value in exported.served.state_dict().values())
    assert halves > 0.9 * total
    assert exported.path.stat().st_size < 2.3 * total + 200_000
    # Everything else is computed in FP32: the only way into half precision is an initializer.
    to_half = [
        node
        for node in model.graph.node
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT16
    ]
    assert to_half == []


def test_the_runtime_folds_every_cast_of_a_parameter(exported: Any, tmp_path: Path) -> None:
    optimised = tmp_path / "optimised.onnx"
    session_of(
        exported.path,
        optimized_model_filepath=str(optimised),
        graph_optimization_level=onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    )
    graph = onnx.load(optimised).graph
    constants = {initializer.name for initializer in graph.initializer}
    left = [
        node.name for node in graph.node if node.op_type == "Cast" and set(node.input) & constants
    ]
    assert left == []
    assert TensorProto.FLOAT16 not in {initializer.data_type for initializer in graph.initializer}


def test_any_batch_gives_what_each_image_gives_alone(exported: Any) -> None:
    session = session_of(exported.path)
    names = [tensor.name for tensor in exported.model.inputs]
    inputs = parity_inputs(exported.model, 5, seed=20)
    alone = [
        session.run(None, {n: a[row : row + 1] for n, a in zip(names, inputs, strict=True)})
        for row in range(5)
    ]
    for batch in (1, 3, 5):
        together = session.run(None, {n: a[:batch] for n, a in zip(names, inputs, strict=True)})
        for output, tensor, *rows in zip(
            together, exported.model.outputs, *alone[:batch], strict=True
        ):
            assert output.shape == (batch, *tensor.shape)
            each = np.concatenate(rows).astype(float)
            tolerance = 1.0 if output.dtype == np.uint8 else 1e-4
            assert np.allclose(output.astype(float), each, rtol=0, atol=tolerance, equal_nan=True)


def test_carries_nothing_of_the_machine_that_made_it(exported: Any) -> None:
    for trace in (str(CHECKOUT), str(exported.path.parent), "site-packages", "Traceback"):
        assert trace.encode() not in exported.path.read_bytes(), trace
    model = exported.load()
    for initializer in model.graph.initializer:
        initializer.ClearField("raw_data")  # millions of numbers hold any short word by chance
    content = model.SerializeToString()
    for pattern in (rb"/[\w.-]+/[\w.-]+", rb"\.py\b", rb"\bFile ", rb"\bline \d"):
        assert re.search(pattern, content) is None, pattern
    keys = {item.key for item in model.metadata_props}
    transunet = exported.model == contract.TRANSUNET
    assert keys == ({"thyroid_triton.transunet_config"} if transunet else set())
    assert model.producer_name == "thyroid-export"


def test_exporting_leaves_the_network_as_it_was(group: Any) -> None:
    kernel = group.network.get_parameter("encoder.stages.0.0.layers.0.weight")
    assert kernel.std() < 0.01  # as it was made, not standardised
    assert not group.network.get_submodule("encoder.stem.0").folded
    assert group.network.training


# --- what is refused


class Small(nn.Module):
    """The classifier's tensors out of next to no arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2000))
        self.unused = nn.Parameter(torch.ones(3))
        self.names = 1

    def forward(self, roi: Tensor, nodule_found: Tensor, ood_score: Tensor) -> Answer:
        mean = roi.to(torch.float32).mean(dim=(1, 2, 3))[:, None] * self.weight.sum()
        malignancy = torch.where(nodule_found & (ood_score <= 1), mean, torch.nan)
        decision = nodule_found.to(torch.int32)
        return malignancy, mean[:, :, None].expand(-1, *contract.EVIDENCE.shape), decision


class Right(Small):
    def __init__(self) -> None:
        super().__init__()
        del self.unused


class OtherSide(Right):
    def forward(self, roi: Tensor, nodule_found: Tensor, ood_score: Tensor) -> Answer:
        malignancy, evidence, decision = super().forward(roi, nodule_found, ood_score)
        return malignancy, evidence[:, 1:], decision


class OtherType(Right):
    def forward(self, roi: Tensor, nodule_found: Tensor, ood_score: Tensor) -> Answer:
        malignancy, evidence, decision = super().forward(roi, nodule_found, ood_score)
        return malignancy.to(torch.float64), evidence, decision


def test_a_graph_of_the_contract_is_exported() -> None:
    model = export_graph(Right(), contract.RESNET18, {"key": "value"})
    assert {item.key: item.value for item in model.metadata_props} == {"key": "value"}


def test_a_parameter_that_vanishes_is_named() -> None:
    with pytest.raises(ExportError, match="1 parameters lost their names in the export, unused"):
        export_graph(Small(), contract.RESNET18)


@pytest.mark.parametrize(
    ("graph", "words"),
    [(OtherSide(), r"'evidence', 1, 4, 5\).*wanted"), (OtherType(), r"'malignancy', 11, 1\)")],
    ids=["another side", "another type"],
)
def test_tensors_that_are_not_the_contracts_are_refused(graph: nn.Module, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        export_graph(graph, contract.RESNET18)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_network_is_refused(value: float) -> None:
    network = ResNet18()
    with torch.no_grad():
        network.fc.bias.fill_(value)
    with pytest.raises(ExportError, match=r"network.fc.bias first: the network has diverged"):
        export_graph(ClassificationGraph(network), contract.RESNET18)


def file_with(values: np.ndarray[tuple[int], np.dtype[np.float32]]) -> onnx.ModelProto:
    """y = x + w."""
    size = len(values)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "network.w"], ["y"])],
        "sum",
        [onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, [size])],
        [onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, [size])],
        [numpy_helper.from_array(values, "network.w")],
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10
    )


def test_halving_rounds_large_parameters_to_the_nearest_half() -> None:
    values = np.random.default_rng(0).normal(0, 1, 2000).astype(np.float32)
    original = file_with(values)
    halved = halve_parameters(original)
    (initializer,) = halved.graph.initializer
    stored = numpy_helper.to_array(initializer)
    assert stored.dtype == np.float16
    assert np.abs(stored - values).max() <= 2**-11 * np.abs(values).max()
    assert original.graph.initializer[0].data_type == TensorProto.FLOAT
    session = onnxruntime.InferenceSession(
        halved.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (answer,) = session.run(None, {"x": np.ones(2000, np.float32)})
    assert np.array_equal(answer, 1 + stored.astype(np.float32))


def test_halving_leaves_small_parameters_exact() -> None:
    values = np.full(1023, 1e-9, np.float32)
    (initializer,) = halve_parameters(file_with(values)).graph.initializer
    assert np.array_equal(numpy_helper.to_array(initializer), values)


def test_a_parameter_beyond_half_precision_is_refused() -> None:
    values = np.zeros(2000, np.float32)
    values[7] = -70_000
    with pytest.raises(ExportError, match=r"network.w reaches 70000, half precision ends at 65504"):
        halve_parameters(file_with(values))
