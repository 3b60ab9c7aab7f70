"""Each rule on a graph that keeps it and on one that breaks it; the shipped ones keep them all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from thyroid_export.engine_graph import precision_of
from thyroid_export.trt_rules import RuleError, check_rules, find_violations
from thyroid_pipeline import contract

CHECKOUT = Path(__file__).resolve().parents[2]
FLOAT, HALF, UINT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8
Ends = tuple[int, Sequence[Any]]


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    """A node named after what it does in the test: its operator in small letters."""
    name = str(attributes.pop("name", operator.lower()))
    return helper.make_node(operator, inputs.split(), outputs.split(), name=name, **attributes)


def model_of(
    nodes: Sequence[NodeProto],
    *,
    x: Ends = (FLOAT, ["batch", 4]),
    y: Ends = (FLOAT, ["batch", 4]),
    others: dict[str, Ends] | None = None,
    **parameters: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
) -> onnx.ModelProto:
    """A graph from `x` (and `others`) to `y`."""
    inputs = {"x": x, **(others or {})}
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info("y", *y)],
        [numpy_helper.from_array(values, name) for name, values in parameters.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("my.operators", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def ones(*shape: int, kind: type[np.generic] = np.float32) -> np.ndarray[tuple[int, ...], np.dtype]:  # type: ignore[type-arg]
    return np.ones(shape, kind)


TOKENS = (FLOAT, ["batch", 5, 4])


def attention(*between: NodeProto, scaled_query: bool = False) -> onnx.ModelProto:
    """Self-attention on `x`; `between` makes `s` of `p`, the product of query and key."""
    first = [node("Mul", "x root", "q", name="scale_query")] if scaled_query else []
    query = "q" if scaled_query else "x"
    nodes = [
        *first,
        node("Transpose", "x", "k", perm=[0, 2, 1]),
        node("MatMul", f"{query} k", "p", name="product"),
        *between,
        node("Softmax", "s" if between else "p", "a", axis=-1),
        node("MatMul", "a x", "y", name="attend"),
    ]
    return model_of(nodes, x=TOKENS, y=TOKENS, root=ones(1), two=ones(1), mask=ones(1, 5, 5))


GOOD = {
    "bytes through casts": model_of(
        [
            node("Cast", "x", "f", to=FLOAT),
            node("Relu", "f", "g"),
            node("Cast", "g", "y", to=UINT8),
        ],
        x=(UINT8, ["batch", 4]),
        y=(UINT8, ["batch", 4]),
    ),
    "weights behind a cast and a transposition": model_of(
        [
            node("Cast", "w", "wide", to=FLOAT),
            node("Transpose", "wide", "turned", perm=[1, 0]),
            node("Gemm", "x turned", "y"),
        ],
        w=ones(4, 4, kind=np.float16),
    ),
    "query scaled": attention(scaled_query=True),
    "product masked": attention(node("Add", "p mask", "s")),
    "a scaled softmax that is no attention": model_of(
        [node("Mul", "x two", "s"), node("Softmax", "s", "y", axis=-1)], two=ones(1)
    ),
    "a norm as an island": model_of(
        [
            node("Cast", "x", "wide", to=FLOAT, name="widen"),
            node("LayerNormalization", "wide scale bias", "n"),
            node("Cast", "n", "y", to=HALF, name="narrow"),
        ],
        x=(HALF, ["batch", 4]),
        y=(HALF, ["batch", 4]),
        scale=ones(4),
        bias=ones(4),
    ),
}


def quantised(zero: Any) -> onnx.ModelProto:
    """A product of what went through integers."""
    return model_of(
        [
            node("QuantizeLinear", "x step zero", "q"),
            node("DequantizeLinear", "q step zero", "d"),
            node("MatMul", "d w", "y"),
        ],
        step=ones(),
        zero=zero,
        w=ones(4, 4),
    )


BAD = {
    "bytes around 128": (
        quantised(np.full((), 128, np.uint8)),
        [
            "QuantizeLinear quantizelinear quantises otherwise than TensorRT does, in 2 places "
            "altogether: UINT8 with a zero point came, INT8 around zero was wanted: thyroid-export "
            "onnx --precision int8-symmetric"
        ],
    ),
    "bytes from zero": (quantised(np.zeros((), np.uint8)), ["altogether: UINT8 came, "]),
    "integers around another number": (
        quantised(np.full((), -3, np.int8)),
        ["altogether: INT8 with a zero point came, "],
    ),
    "biases as integers": (
        model_of(
            [node("DequantizeLinear", "b step", "d"), node("Add", "x d", "y")],
            b=np.ones(4, np.int32),
            step=ones(),
        ),
        ["DequantizeLinear dequantizelinear quantises", "in 1 place altogether: INT32 came"],
    ),
    "bytes added": (
        model_of(
            [node("Add", "x x", "t"), node("Cast", "t", "y", to=FLOAT)], x=(UINT8, ["batch", 4])
        ),
        ["Add add touches x, which is UINT8", "Add add touches t, which is UINT8"],
    ),
    "bytes turned before the cast": (
        model_of(
            [node("Transpose", "x", "t", perm=[0, 2, 1]), node("Cast", "t", "y", to=FLOAT)],
            x=(UINT8, ["batch", 4, 4]),
            y=(FLOAT, ["batch", 4, 4]),
        ),
        ["Transpose transpose touches x, which is UINT8"],
    ),
    "weights from an input": (
        model_of(
            [node("Conv", "x w", "y")],
            x=(FLOAT, ["batch", 4, 8, 8]),
            y=(FLOAT, ["batch", 4, 8, 8]),
            others={"w": (FLOAT, ["batch", 4, 1, 1])},
        ),
        ["Conv conv takes w (FLOAT) as a parameter", "make it an initializer"],
    ),
    "weights made of an input": (
        model_of(
            [
                node("ReduceMean", "x", "m", keepdims=0),
                node("Mul", "w m", "v"),
                node("Gemm", "x v", "y"),
            ],
            w=ones(4, 4),
        ),
        ["Gemm gemm takes v (FLOAT) as a parameter"],
    ),
    "product scaled": (
        attention(node("Mul", "p root", "s", name="scale")),
        ["Mul scale (FLOAT) scales the product MatMul product in front of Softmax softmax"],
    ),
    "product divided, then masked": (
        attention(node("Div", "p root", "d", name="shrink"), node("Add", "mask d", "s")),
        ["Div shrink (FLOAT) scales the product MatMul product"],
    ),
    "an operator of another domain": (
        model_of([node("Magic", "x", "y", domain="my.operators")]),
        ["Magic magic of the domain my.operators needs a plugin"],
    ),
    "an operator of a plugin": (
        model_of(
            [node("ScatterElements", "x where what", "y")],
            where=ones(1, 4, kind=np.int64),
            what=ones(1, 4),
        ),
        ["ScatterElements scatterelements needs a plugin"],
    ),
    "doubles": (
        model_of(
            [
                node("Cast", "x", "d", to=TensorProto.DOUBLE),
                node("Cast", "d", "y", to=FLOAT, name="back"),
            ]
        ),
        ["d, which Cast cast gives, is DOUBLE, which TensorRT does not take"],
    ),
    "16-bit integers at the end": (
        model_of(
            [node("Cast", "x", "y", to=TensorProto.INT16)], y=(TensorProto.INT16, ["batch", 4])
        ),
        ["y, which Cast cast gives, is INT16"],
    ),
    "8-bit floats at the end, which Triton does not hand on": (
        model_of(
            [node("Cast", "x", "y", to=TensorProto.FLOAT8E4M3FN)],
            y=(TensorProto.FLOAT8E4M3FN, ["batch", 4]),
        ),
        ["y, which Cast cast gives, is FLOAT8E4M3FN"],
    ),
    "a norm of two types": (
        model_of(
            [node("LayerNormalization", "x scale", "y")],
            x=(HALF, ["batch", 4]),
            y=(HALF, ["batch", 4]),
            scale=ones(4),
        ),
        ["LayerNormalization layernormalization mixes types (x FLOAT16, scale FLOAT)"],
    ),
    "a fixed batch": (
        model_of([node("Relu", "x", "y")], x=(FLOAT, [2, 4]), y=(FLOAT, [2, 4])),
        ["x (FLOAT) has the shape [2, 4]", "y (FLOAT) has the shape [2, 4]"],
    ),
    "an open side": (
        model_of([node("Relu", "x", "y")], x=(FLOAT, ["batch", "n"]), y=(FLOAT, ["batch", "n"])),
        ["x (FLOAT) has the shape ['batch', 'n']"],
    ),
}


@pytest.mark.parametrize("model", GOOD.values(), ids=GOOD)
def test_a_graph_that_keeps_the_rules(model: onnx.ModelProto) -> None:
    assert find_violations(model) == []


@pytest.mark.parametrize(("model", "words"), BAD.values(), ids=BAD)
def test_a_graph_that_breaks_a_rule(model: onnx.ModelProto, words: list[str]) -> None:
    with pytest.raises(RuleError) as error:
        check_rules(model, "some.onnx")
    message = str(error.value)
    assert message.startswith(f"some.onnx breaks {len(find_violations(model))} rule")
    for word in words:
        assert word in message
    # That rule alone: a graph of the tests breaks no other by the way.
    assert len(find_violations(model)) <= 2


@pytest.mark.parametrize("name", [model.name for model in contract.NETWORKS])
def test_the_shipped_graphs_keep_the_rules(name: str) -> None:
    model = onnx.load(CHECKOUT / "model_repository" / name / "1" / "model.onnx")
    assert find_violations(model) == []
    assert precision_of(model) == "fp32"  # though its parameters are stored in half precision


# --- the precision that stands in a plan's record


def product(kind: int) -> onnx.ModelProto:
    ends = (kind, ["batch", 4])
    half = kind == HALF
    return model_of(
        [node("MatMul", "x w", "y")],
        x=ends,
        y=ends,
        w=ones(4, 4, kind=np.float16 if half else np.float32),
    )


def test_precision_is_that_of_the_products() -> None:
    assert precision_of(product(FLOAT)) == "fp32"
    assert precision_of(product(HALF)) == "fp16"
    assert precision_of(GOOD["bytes through casts"]) == "none"


def test_mixed_precision_names_both() -> None:
    mixed = model_of(
        [
            node("MatMul", "x w", "m"),
            node("Cast", "m", "h", to=HALF),
            node("MatMul", "h v", "y", name="narrow"),
        ],
        y=(HALF, ["batch", 4]),
        w=ones(4, 4),
        v=ones(4, 4, kind=np.float16),
    )
    assert precision_of(mixed) == "fp32+fp16"


def test_explicit_quantisation_is_its_integers() -> None:
    model = quantised(np.zeros((), np.int8))
    assert find_violations(model) == []
    assert precision_of(model) == "int8"
