"""What TensorRT asks of a graph, checked before it is built: each rule says which node breaks it.

TensorRT finds most of this itself, late and in its own words; a scale behind an attention product
it takes, and then does not fuse. Every rule gets the whole model and returns what it found, one
sentence each; the graphs of this project have no subgraphs, and none is looked into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx
from onnx import NodeProto, TensorProto, numpy_helper
from onnx.shape_inference import InferenceError

from thyroid_export.engine_graph import Graph, label

_STANDARD_DOMAINS = {"", "ai.onnx"}
# Standard operators that TensorRT's parser hands to a plugin, or that TensorRT for RTX has not.
_PLUGIN_OPERATORS = {"DeformConv", "NonMaxSuppression", "RoiAlign", "ScatterElements"}

_SERVED_TYPES = {
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.BOOL,
}
_INNER_TYPES = _SERVED_TYPES | {
    TensorProto.FLOAT8E4M3FN,
    TensorProto.INT4,
    TensorProto.FLOAT4E2M1,
}

# The inputs of each operator that TensorRT wants to know when it builds.
_CONSTANT_INPUTS = {
    "BatchNormalization": (1, 2, 3, 4),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "DequantizeLinear": (1, 2),
    "Gemm": (1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "QuantizeLinear": (1, 2),
}
_NORMS = {"GroupNormalization", "InstanceNormalization", "LayerNormalization"}
# What may stand between an attention's product and its softmax without a say about the scale.
_TRANSPARENT = {"Add", "Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze", "Where"}
_SCALES = {"Mul", "Div"}
_QUANTISERS = {"DequantizeLinear", "QuantizeLinear"}


class RuleError(ValueError):
    """A graph breaks a rule of TensorRT."""


def bytes_go_through_casts(graph: Graph) -> Iterator[str]:
    """A UINT8 tensor comes from an input or a Cast, and goes into a Cast or an output."""
    for node in graph.proto.node:
        if node.op_type in _QUANTISERS | {"Cast"}:  # those have a rule of their own
            continue
        for name in dict.fromkeys((*node.input, *node.output)):
            if graph.types.get(name) == TensorProto.UINT8:
                yield (
                    f"{label(node)} touches {name}, which is UINT8: TensorRT casts UINT8 and does "
                    "nothing else with it; put a Cast between them"
                )


def quantisation_is_symmetric(graph: Graph) -> Iterator[str]:
    """What is quantised is around zero, and neither UINT8 nor INT32."""
    zeros = {each.name: each for each in graph.proto.initializer}
    refused: dict[str, str] = {}
    for node in graph.proto.node:
        if node.op_type not in _QUANTISERS:
            continue
        integers = (node.output if node.op_type == "QuantizeLinear" else node.input)[0]
        zero = zeros.get(node.input[2]) if len(node.input) > 2 else None
        is_shifted = zero is not None and bool(numpy_helper.to_array(zero).any())
        if is_shifted or graph.types.get(integers) in {TensorProto.UINT8, TensorProto.INT32}:
            shift = " with a zero point" if is_shifted else ""
            refused[label(node)] = f"{graph.type_name(integers)}{shift}"
    if refused:
        yield (
            f"{next(iter(refused))} quantises otherwise than TensorRT does, in "
            f"{len(refused)} place{'s' * (len(refused) > 1)} altogether: "
            f"{' and '.join(sorted(set(refused.values())))} came, INT8 around zero was wanted: "
            "thyroid-export onnx --precision int8-symmetric"
        )


def weights_are_constants(graph: Graph) -> Iterator[str]:
    """Weights, scales and statistics depend on no input."""
    for node in graph.proto.node:
        for position in _CONSTANT_INPUTS.get(node.op_type, ()):
            name = node.input[position] if position < len(node.input) else ""
            if name and name not in graph.constants:
                yield (
                    f"{label(node)} takes {name} ({graph.type_name(name)}) as a parameter, which "
                    "depends on an input; TensorRT wants a constant: make it an initializer"
                )


def attention_scales_first(graph: Graph) -> Iterator[str]:
    """The scale of an attention lies before its product, where TensorRT fuses it."""
    for softmax in graph.proto.node:
        if softmax.op_type != "Softmax":
            continue
        ways: list[tuple[str, NodeProto | None]] = [(softmax.input[0], None)]
        while ways:
            name, scale = ways.pop()
            node = graph.makers.get(name)
            if node is None:
                continue
            variables = [each for each in node.input if each and each not in graph.constants]
            if node.op_type in _SCALES and len(variables) == 1:
                ways.append((variables[0], node))
            elif node.op_type in _TRANSPARENT:
                ways += [(each, scale) for each in variables]
            elif node.op_type == "MatMul" and len(variables) == 2 and scale is not None:
                yield (
                    f"{label(scale)} ({graph.type_name(scale.output[0])}) scales the product "
                    f"{label(node)} in front of {label(softmax)}: TensorRT does not fuse that; "
                    "scale the query before the product"
                )


def operators_are_standard(graph: Graph) -> Iterator[str]:
    """No operator needs a plugin."""
    for node in graph.proto.node:
        if node.domain not in _STANDARD_DOMAINS or node.op_type in _PLUGIN_OPERATORS:
            source = f" of the domain {node.domain}" if node.domain else ""
            yield (
                f"{label(node)}{source} needs a plugin; write it with standard operators, or move "
                "it out of the graph"
            )


def types_are_supported(graph: Graph) -> Iterator[str]:
    """Every tensor is of a type that TensorRT computes with; at the ends, that Triton hands on."""
    ends = {value.name for value in (*graph.proto.input, *graph.proto.output)}
    for name, kind in graph.types.items():
        wanted = _SERVED_TYPES if name in ends else _INNER_TYPES
        if kind not in wanted:
            maker = graph.makers.get(name)
            source = f", which {label(maker)} gives," if maker else ""
            names = ", ".join(TensorProto.DataType.Name(each) for each in sorted(wanted))
            yield (
                f"{name}{source} is {graph.type_name(name)}, which TensorRT does not take; cast it "
                f"to one of {names}"
            )


def norms_are_of_one_type(graph: Graph) -> Iterator[str]:
    """A normalisation's data and parameters are of one type: nothing is cast between them."""
    for node in graph.proto.node:
        if node.op_type in _NORMS:
            types = {name: graph.type_name(name) for name in node.input if name}
            if len(set(types.values())) > 1:
                listed = ", ".join(f"{name} {kind}" for name, kind in types.items())
                yield (
                    f"{label(node)} mixes types ({listed}); cast its data to the type of its "
                    "parameters, and its result back"
                )


def batch_alone_is_open(graph: Graph) -> Iterator[str]:
    """Every input and output has an open batch axis and fixed sides behind it."""
    for value in (*graph.proto.input, *graph.proto.output):
        sides = value.type.tensor_type.shape.dim
        opened = [not side.HasField("dim_value") for side in sides]
        if not opened or not opened[0] or any(opened[1:]):
            shape = [side.dim_param or side.dim_value or "?" for side in sides]
            yield (
                f"{value.name} ({graph.type_name(value.name)}) has the shape {shape}; an open "
                "batch axis and fixed sides were wanted: export it with a dynamic batch alone"
            )


RULES: tuple[Callable[[Graph], Iterator[str]], ...] = (
    operators_are_standard,
    types_are_supported,
    bytes_go_through_casts,
    quantisation_is_symmetric,
    weights_are_constants,
    attention_scales_first,
    norms_are_of_one_type,
    batch_alone_is_open,
)


def find_violations(model: onnx.ModelProto) -> list[str]:
    """Every rule that a model breaks, one sentence for each place."""
    graph = Graph(model)
    return [violation for rule in RULES for violation in rule(graph)]


def check_rules(model: onnx.ModelProto, source: str) -> None:
    """See that TensorRT can build a model.

    Args:
        model: To be built.
        source: Its file, for the message.

    Raises:
        RuleError: It breaks a rule, then the message lists every place, or it is no valid graph.
    """
    try:
        violations = find_violations(model)
    except InferenceError as error:
        raise RuleError(
            f"{source} holds no valid graph ({error}); export it again: thyroid-export onnx"
        ) from error
    if violations:
        raise RuleError(
            f"{source} breaks {len(violations)} rule{'s' * (len(violations) > 1)} of TensorRT:\n"
            + "\n".join(f"  {violation}" for violation in violations)
        )
