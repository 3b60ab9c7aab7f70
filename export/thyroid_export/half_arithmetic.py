"""Half precision on a CPU: FP32 arithmetic, with each result rounded as the graph says.

ONNX Runtime has no CPU kernels for BFLOAT16. FP16 it widens to FP32 over whole chains of nodes, so
that what overflows on a GPU does not there: its answers are better than the graph's. Here every
node computes and sums in FP32, as tensor cores do, and its result goes through half precision and
back, by the two Casts that no optimisation may remove. A GPU that fuses nodes rounds less often.
"""

from __future__ import annotations

import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from thyroid_export.engine_graph import Graph
from thyroid_export.mixed_precision import MOVERS

_HALVES = {TensorProto.FLOAT16, TensorProto.BFLOAT16}


def widen(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write a mixed graph as an FP32 one that answers as it does.

    Args:
        model: In mixed precision; its inputs and outputs are of other types. Left as it is.

    Returns:
        The graph; every tensor keeps its name, those in half precision are FP32 of such values.
    """
    graph = Graph(model)
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    del wide.graph.node[:], wide.graph.initializer[:]
    wide.graph.ClearField("value_info")
    for constant in model.graph.initializer:
        if constant.data_type in _HALVES:
            values = numpy_helper.to_array(constant).astype("float32")
            wide.graph.initializer.append(numpy_helper.from_array(values, constant.name))
        else:
            wide.graph.initializer.append(constant)
    for node in model.graph.node:
        wide.graph.node.extend(_widen_node(node, graph))
    onnx.checker.check_model(wide, full_check=True)
    return wide


def _widen_node(node: NodeProto, graph: Graph) -> list[NodeProto]:
    halves = [name for name in node.output if graph.types.get(name) in _HALVES]
    is_cast = node.op_type == "Cast"
    if is_cast and graph.types.get(node.input[0]) in _HALVES and not halves:
        if graph.types[node.output[0]] == TensorProto.FLOAT:
            return [helper.make_node("Identity", node.input, node.output, name=node.name)]
        return [node]
    if not halves or node.op_type in MOVERS:
        return [node]
    if is_cast:
        return _round(node.input[0], node.output[0], graph.types[node.output[0]])
    exact = NodeProto()
    exact.CopyFrom(node)
    exact.output[:] = [f"{name}.exact" if name in halves else name for name in node.output]
    return [
        exact,
        *(each for name in halves for each in _round(f"{name}.exact", name, graph.types[name])),
    ]


def _round(source: str, target: str, kind: int) -> list[NodeProto]:
    narrow = f"{target}.narrow"
    return [
        helper.make_node("Cast", [source], [narrow], name=f"{narrow}.cast", to=kind),
        helper.make_node("Cast", [narrow], [target], name=f"{target}.round", to=TensorProto.FLOAT),
    ]
