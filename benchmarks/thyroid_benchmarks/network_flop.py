"""How much arithmetic a network is: the products of its ONNX file, counted over one run."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

_PRODUCTS = {"Conv", "Gemm", "MatMul"}
# Operators that sum products as well, and that none of our networks has.
_UNKNOWN = {"Attention", "ConvInteger", "ConvTranspose", "Einsum", "GRU", "LSTM", "MatMulInteger"}


def flop_per_case(file: Path) -> float:
    """Count the floating-point operations of one case: a multiplication and an addition are two.

    Counted are convolutions and matrix products, as is usual; what lies between them is little.
    Their shapes are those of a run on zeros: shape inference does not see through every operator.

    Args:
        file: The ONNX file, whose inputs have an open batch and fixed sides.

    Returns:
        The operations.

    Raises:
        ValueError: An operator is not known here.
    """
    model = onnx.load(file)
    for node in model.graph.node:
        if node.op_type in _UNKNOWN:
            raise ValueError(
                f"{node.name} in {file} is a {node.op_type}; {', '.join(sorted(_PRODUCTS))} can be "
                f"counted: teach {Path(__file__).name} to count it"
            )
    products = [node for node in model.graph.node if node.op_type in _PRODUCTS]
    shapes = _shapes(model, {name for node in products for name in (*node.input, *node.output)})
    return sum(_flop(node, shapes) for node in products)


def _shapes(model: onnx.ModelProto, names: set[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of some tensors in a run on one case."""
    graph = model.graph
    zeros = {
        value.name: np.zeros(
            [1, *(side.dim_value for side in value.type.tensor_type.shape.dim[1:])],
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
        )
        for value in graph.input
    }
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes |= {name: array.shape for name, array in zeros.items()}
    del graph.output[:]
    shown = sorted(names - shapes.keys() - {""})
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in shown)
    options = onnxruntime.SessionOptions()
    # As it stands in the file: where nodes are fused, tensors between them are gone.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    arrays = session.run(shown, zeros) if shown else []  # none would be taken for all
    return shapes | {name: array.shape for name, array in zip(shown, arrays, strict=True)}


def _flop(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> float:
    left, right, out = (shapes[name] for name in (*node.input[:2], node.output[0]))
    if node.op_type == "Conv":
        depth = math.prod(right[1:])  # channels of a group, and the kernel
    elif node.op_type == "Gemm":
        turned = any(item.name == "transA" and item.i for item in node.attribute)
        depth = left[0 if turned else 1]
    else:
        depth = left[-1]
    return 2.0 * depth * math.prod(out)
