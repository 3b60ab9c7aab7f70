"""An ONNX graph as the engine builder asks about it: makers, constants, types, precision."""

from __future__ import annotations

from functools import cached_property

import onnx
from onnx import NodeProto, TensorProto, shape_inference


class Graph:
    """A model's graph with what the rules ask of it, found once."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.proto = model.graph
        self._model = model

    @cached_property
    def makers(self) -> dict[str, NodeProto]:
        """The node that gives each tensor."""
        return {name: node for node in self.proto.node for name in node.output}

    @cached_property
    def constants(self) -> set[str]:
        """The tensors that do not depend on an input: parameters, and what is made of them."""
        inputs = {value.name for value in self.proto.input}
        known = {parameter.name for parameter in self.proto.initializer} - inputs
        for node in self.proto.node:  # ONNX wants them in an order that can be run
            if all(name in known for name in node.input if name):
                known.update(node.output)
        return known

    @cached_property
    def types(self) -> dict[str, int]:
        """The element type of each tensor, as far as ONNX can tell."""
        graph = shape_inference.infer_shapes(self._model).graph
        types = {parameter.name: parameter.data_type for parameter in graph.initializer}
        for value in (*graph.value_info, *graph.input, *graph.output):
            types[value.name] = value.type.tensor_type.elem_type
        return types

    def type_name(self, tensor: str) -> str:
        """The name of a tensor's type."""
        return TensorProto.DataType.Name(self.types.get(tensor, TensorProto.UNDEFINED))


def label(node: NodeProto) -> str:
    """A node in a message: its operator, and its name or that of what it gives."""
    return f"{node.op_type} {node.name or f'that gives {node.output[0]}'}"


def precision_of(model: onnx.ModelProto) -> str:
    """The types in which a model multiplies, the widest first, such as `fp32` or `fp32+fp16`.

    Parameters stored in half precision behind a Cast do not count: the arithmetic does.
    """
    graph = Graph(model)
    names = {
        TensorProto.FLOAT: "fp32",
        TensorProto.BFLOAT16: "bf16",
        TensorProto.FLOAT16: "fp16",
        TensorProto.INT8: "int8",
        TensorProto.FLOAT8E4M3FN: "fp8",
    }
    products = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
    found = {
        _before_quantisation(graph, node.input[0])
        for node in graph.proto.node
        if node.op_type in products
    }
    return "+".join(name for kind, name in names.items() if kind in found) or "none"


def _before_quantisation(graph: Graph, name: str) -> int:
    """The type of a product's input; with explicit quantisation, that which is dequantised."""
    maker = graph.makers.get(name)
    if maker is not None and maker.op_type == "DequantizeLinear":
        return graph.types.get(maker.input[0], TensorProto.UNDEFINED)
    return graph.types.get(name, TensorProto.UNDEFINED)


def describe_inputs(model: onnx.ModelProto, position: int) -> str:
    """The operator, name and input types of a node, for a builder's message about it.

    Args:
        model: The model.
        position: The node's index in it.

    Returns:
        One phrase; empty where there is no such node.
    """
    if not 0 <= position < len(model.graph.node):
        return ""
    graph, node = Graph(model), model.graph.node[position]
    inputs = ", ".join(f"{name} {graph.type_name(name)}" for name in node.input if name)
    return f"{label(node)} (of {inputs})"


def input_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The sides of each input without the batch axis, of a model that keeps the rules."""
    return {
        value.name: tuple(side.dim_value for side in value.type.tensor_type.shape.dim[1:])
        for value in model.graph.input
    }
