"""What of a network is in INT8: the convolutions of a scope, and what lies between them.

FP32 stay whatever happens: all that brings the frame to the network, the transformer behind its
embedding, what measures the frame for the gate, and from each last product on all behind the
feature map: head, Sigmoid, calibration, decision.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum

import onnx
from onnx import NodeProto

from thyroid_export.engine_graph import Graph

_PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
# Names of a network's own parameters hold this, also where normalisations are folded into them. The
# convolutions that bring a frame to the network's side are none of its own.
_OWN = "network."
# They become part of the convolution in front of them.
_ACTIVATIONS = {"Clip", "Relu"}
# They have kernels for INT8, so that between two convolutions nothing goes back to FP32.
_CARRIERS = {"Add", "AveragePool", "Concat", "MaxPool", "Resize"}


class Scope(Enum):
    """Which convolutions are in INT8. The value says it to a reader.

    None leaves a convolution in FP32 between two in INT8: ONNX Runtime quantises its weights as it
    loads the file, with one scale for all channels, which depthwise ones bear worst of all.
    """

    ALL = "all convolutions but the last"
    INNER = "all but the first and the last"
    WIDE = "kernels wider than 1 x 1, but the first, the last and the depthwise ones"


def int8_nodes(model: onnx.ModelProto, scope: Scope) -> list[NodeProto]:
    """Choose what is quantised.

    Args:
        model: FP32, as `int8_quantise.fold` writes it: constants and normalisations of batches
            folded, nodes in an order that can be run, each with a name of its own.
        scope: Of the convolutions.

    Returns:
        The convolutions and what lies between them, in the graph's order.

    Raises:
        ValueError: The graph has no such convolution.
    """
    nodes = list(model.graph.node)
    to_products = _leading_to(nodes, [node.name for node in nodes if node.op_type in _PRODUCTS])
    inner = [
        node
        for node in nodes
        if node.op_type == "Conv"
        and _OWN in node.input[1]
        and to_products.intersection(node.output)
    ]
    widths = {each.name: max(each.dims[2:], default=1) for each in model.graph.initializer}
    chosen = {
        node.name
        for place, node in enumerate(inner)
        if _is_within(scope, is_first=place == 0, groups=_groups(node), width=widths[node.input[1]])
    }
    if not chosen:
        raise ValueError(
            f"the graph has {len(inner)} convolutions with parameters named {_OWN}* that another "
            f"product follows, none of them within the scope {scope.name} ({scope.value}): take "
            "another scope, or a network that thyroid-export wrote"
        )
    return _with_carriers(nodes, chosen, Graph(model).constants)


def _is_within(scope: Scope, *, is_first: bool, groups: int, width: int) -> bool:
    if scope is Scope.ALL:
        return True
    return not is_first and (scope is Scope.INNER or (groups == 1 and width > 1))


def _groups(node: NodeProto) -> int:
    return next((each.i for each in node.attribute if each.name == "group"), 1)


def _with_carriers(
    nodes: Iterable[NodeProto], chosen: Collection[str], constants: Collection[str]
) -> list[NodeProto]:
    """Add what takes nothing but results in INT8 and leads to more of them."""
    nodes = list(nodes)
    to_chosen = _leading_to(nodes, chosen)
    found: list[NodeProto] = []
    results: set[str] = set()
    for node in nodes:
        taken = {name for name in node.input if name and name not in constants}
        follows = bool(taken) and taken <= results
        if (
            node.name in chosen
            or (node.op_type in _ACTIVATIONS and follows)
            or (node.op_type in _CARRIERS and follows and to_chosen.intersection(node.output))
        ):
            found.append(node)
            results.update(node.output)
    return found


def _leading_to(nodes: list[NodeProto], targets: Collection[str]) -> set[str]:
    """The tensors of which the results of some nodes are made."""
    leads: set[str] = set()
    for node in reversed(nodes):
        if node.name in targets or leads.intersection(node.output):
            leads.update(node.input)
    return leads
