"""Mixed precision: one type at every node, islands in FP32, and arithmetic that rounds as it says.

The arithmetic is held against PyTorch's own half precision, which shares no code with it.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper, shape_inference

from thyroid_export.engine_graph import precision_of
from thyroid_export.half_arithmetic import widen
from thyroid_export.mixed_precision import Precision, mix_precision
from thyroid_export.onnx_graph import ExportError
from thyroid_export.trt_rules import find_violations

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"
FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16}
ISLANDS = {
    "Erf",
    "InstanceNormalization",
    "LayerNormalization",
    "ReduceMean",
    "Sigmoid",
    "Softmax",
}
Array = npt.NDArray[np.float32]
TORCH = {Precision.FP16: torch.float16, Precision.BF16: torch.bfloat16}


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    """Element types by ONNX's own inference, of tensors and constants."""
    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {constant.name: constant.data_type for constant in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    return types


def signature(model: onnx.ModelProto) -> list[Any]:
    return [value.SerializeToString() for value in (*model.graph.input, *model.graph.output)]


def check_mixed(
    model: onnx.ModelProto, mixed: onnx.ModelProto, precision: Precision
) -> Counter[str]:
    """What holds of every mixed graph; returns its operators in half precision."""
    assert signature(mixed) == signature(model)
    assert {(each.key, each.value) for each in model.metadata_props} <= {
        (each.key, each.value) for each in mixed.metadata_props
    }
    assert find_violations(mixed) == []
    types = types_of(mixed)
    half: Counter[str] = Counter()
    for node in mixed.graph.node:
        kinds = {types[name] for name in (*node.input, *node.output) if name} & FLOATS
        if node.op_type in {"Cast", "Resize"}:  # a Resize's scales are FP32 whatever it scales
            continue
        assert len(kinds) <= 1, node
        assert node.op_type not in ISLANDS or kinds == {TensorProto.FLOAT}, node
        if kinds == {precision.element_type}:
            half[node.op_type] += 1
    assert precision_of(mixed) == f"fp32+{precision.value}"
    return half


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize(("name", "last"), [("transunet", 2), ("resnet18", 1)])
def test_shipped_networks(precision: Precision, name: str, last: int) -> None:
    model = onnx.load(REPOSITORY / name / "1" / "model.onnx")
    before = model.SerializeToString()
    mixed = mix_precision(model, precision)
    assert model.SerializeToString() == before
    half = check_mixed(model, mixed, precision)
    products = Counter(node.op_type for node in model.graph.node)
    # All but the last ones: the head and the gate, or the classifier's layer.
    wanted = sum(products[name] for name in ("Conv", "MatMul", "Gemm")) - last
    assert sum(half[name] for name in ("Conv", "MatMul", "Gemm")) == wanted
    operators = Counter(node.op_type for node in mixed.graph.node)
    assert operators["BatchNormalization"] == 0
    assert operators["LayerNormalization"] == products["LayerNormalization"]
    assert operators["Softmax"] == products["Softmax"]
    # Weights are stored once, most of them in two bytes.
    elements = sum(math.prod(each.dims) for each in model.graph.initializer)
    assert mixed.ByteSize() < 0.6 * 4 * elements


def test_group_normalisation_is_an_island_with_its_scale(group: Any) -> None:
    model = group.load()
    mixed = mix_precision(model, Precision.FP16)
    half = check_mixed(model, mixed, Precision.FP16)
    assert half["Conv"] > 10
    types = types_of(mixed)
    readers = {name: node for node in mixed.graph.node for name in node.input}
    norms = [node for node in mixed.graph.node if node.op_type == "InstanceNormalization"]
    assert norms
    for norm in norms:
        node = readers[norm.output[0]]
        while node.op_type in {"Reshape", "Mul", "Add"}:
            assert types[node.output[0]] == TensorProto.FLOAT
            node = readers[node.output[0]]
        assert node.op_type == "Cast"  # straight behind its scale and offset


# --- small graphs


def chain(scale: float = 1.0) -> onnx.ModelProto:
    """Convolution, normalisation of the batch, Clip, a residual convolution, another, a head.

    All but the head is to be in half precision; `x` is [batch, 3, 8, 8], `y` [batch, 1, 8, 8].
    """
    rng = np.random.default_rng(3)
    arrays = {
        "w1": rng.normal(0, 0.3 * scale, (8, 3, 3, 3)),
        "gain": rng.uniform(0.5, 1.5, 8),
        "shift": rng.normal(0, 0.1, 8),
        "mean": rng.normal(0, 0.1, 8),
        "variance": rng.uniform(0.5, 1.5, 8),
        "low": np.array(-2.0 * scale),
        "high": np.array(3.0 * scale),
        "w2": rng.normal(0, 0.2, (8, 8, 3, 3)),
        "w3": rng.normal(0, 0.3, (1, 8, 1, 1)),
    }
    moments = ["gain", "shift", "mean", "variance"]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], pads=[1, 1, 1, 1], name="first"),
        helper.make_node("BatchNormalization", ["c1", *moments], ["n"], name="norm"),
        helper.make_node("Clip", ["n", "low", "high"], ["r"], name="clip"),
        helper.make_node("Conv", ["r", "w2"], ["c2"], pads=[1, 1, 1, 1], name="second"),
        helper.make_node("Add", ["r", "c2"], ["s"], name="sum"),
        helper.make_node("Conv", ["s", "w2"], ["c3"], pads=[1, 1, 1, 1], name="third"),
        helper.make_node("Conv", ["c3", "w3"], ["logit"], name="head"),
        helper.make_node("Sigmoid", ["logit"], ["y"], name="squash"),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [numpy_helper.from_array(value.astype(np.float32), key) for key, value in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto, x: Array) -> Array:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (y,) = session.run(["y"], {"x": x})
    return np.asarray(y)


def by_torch(mixed: onnx.ModelProto, x: Array, precision: Precision) -> torch.Tensor:
    """The chain in PyTorch's own half precision, with the mixed file's weights."""
    kind = TORCH[precision]
    constants = {each.name: each for each in mixed.graph.initializer}

    def take(node: onnx.NodeProto, kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
        arrays = [numpy_helper.to_array(constants[name]) for name in node.input[1:]]
        weight, *bias = (torch.from_numpy(each.astype(np.float32)).to(kind) for each in arrays)
        return weight, bias[0] if bias else None

    first, second, third, head = (node for node in mixed.graph.node if node.op_type == "Conv")
    h = torch.from_numpy(x).to(kind)
    h = F.conv2d(h, *take(first, kind), padding=1)
    h = h.clamp(-2, 3)
    h = h + F.conv2d(h, *take(second, kind), padding=1)
    h = F.conv2d(h, *take(third, kind), padding=1)
    return torch.sigmoid(F.conv2d(h.float(), *take(head, torch.float32)))


@pytest.mark.parametrize("precision", Precision)
def test_it_rounds_as_pytorch_does(precision: Precision) -> None:
    model, x = chain(), np.random.default_rng(4).normal(size=(4, 3, 8, 8)).astype(np.float32)
    mixed = mix_precision(model, precision)
    half = check_mixed(model, mixed, precision)
    assert half == {"Conv": 3, "Clip": 1, "Add": 1}
    full, got = run(model, x), run(widen(mixed), x)
    wanted = by_torch(mixed, x, precision).numpy()
    departure = np.abs(full - wanted).mean()
    assert departure > 0.02 * precision.roundoff  # half precision shows
    # Sums in another order may round the other way now and then.
    assert np.abs(got - wanted).mean() < 0.2 * departure


def test_what_overflows_on_a_gpu_overflows_here() -> None:
    """ONNX Runtime's CPU provider would widen the whole chain, and show nothing."""
    x = np.full((1, 3, 8, 8), 60000.0, np.float32)
    model = chain()
    for constant in model.graph.initializer:
        if constant.name in {"low", "high"}:
            sign = -1 if constant.name == "low" else 1
            constant.CopyFrom(
                numpy_helper.from_array(np.array(sign * 6e4, np.float32), constant.name)
            )
    mixed = mix_precision(model, Precision.FP16)
    exposed = widen(mixed)
    exposed.graph.output.append(helper.make_tensor_value_info("n", TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(exposed.SerializeToString())
    (convolved,) = session.run(["n"], {"x": x})
    assert np.isinf(convolved).any()


def test_the_fp16_file_runs_in_onnx_runtime() -> None:
    model, x = chain(), np.random.default_rng(5).normal(size=(2, 3, 8, 8)).astype(np.float32)
    got = run(mix_precision(model, Precision.FP16), x)
    np.testing.assert_allclose(got, run(model, x), atol=4e-3)


def test_a_weight_beyond_the_range_is_refused() -> None:
    with pytest.raises(ExportError, match=r"reaches .*, fp16 ends at 65504: take --precision bf16"):
        mix_precision(chain(scale=1e6), Precision.FP16)
    mix_precision(chain(scale=1e6), Precision.BF16)


def test_a_graph_of_one_product_is_refused() -> None:
    model = chain()
    del model.graph.node[1:7]
    model.graph.node[0].output[0] = "logit"
    with pytest.raises(ExportError, match="no product that another one follows"):
        mix_precision(model, Precision.FP16)


@pytest.mark.parametrize("precision", Precision)
def test_facts_of_a_precision(precision: Precision) -> None:
    facts = torch.finfo(TORCH[precision])
    assert precision.largest == facts.max
    assert precision.roundoff == facts.eps / 2
    name = {Precision.FP16: "FLOAT16", Precision.BF16: "BFLOAT16"}[precision]
    assert TensorProto.DataType.Name(precision.element_type) == name
