"""Where two graphs part: both run with all their tensors in sight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper

from thyroid_export.engine_graph import Graph, label
from thyroid_export.mixed_precision import Precision
from thyroid_export.parity import open_session
from thyroid_pipeline import contract


@dataclass(frozen=True)
class Layer:
    """How far one node's result is from the FP32 graph's.

    Attributes:
        node: Its operator and name.
        tensor: What it gives.
        precision: `fp32`, `fp16` or `bf16`: the type of what it gives; `int8` where it takes
            what was in INT8.
        largest: The largest number of the FP32 graph's result, without its sign.
        difference: The largest difference.
        relative_error: Root mean square of the differences over that of the FP32 graph's result;
            infinite where numbers are missing.
    """

    node: str
    tensor: str
    precision: str
    largest: float
    difference: float
    relative_error: float


def compare_layers(
    reference: onnx.ModelProto,
    mixed: onnx.ModelProto,
    runnable: onnx.ModelProto,
    model: contract.Model,
    inputs: Sequence[npt.NDArray[np.generic]],
) -> list[Layer]:
    """Compare every tensor that two graphs have in common.

    Args:
        reference: In FP32.
        mixed: Made of it, in another precision.
        runnable: What answers as that does, see `low_precision.Written`.
        model: Of the contract.
        inputs: One array for each of its inputs, batch axis first.

    Returns:
        The nodes that give floating-point numbers in both graphs, in the order in which they run.
    """
    graph, before = Graph(mixed), Graph(reference)
    names = [
        name
        for node in mixed.graph.node
        for name in node.output
        if name in before.makers and before.types.get(name) == TensorProto.FLOAT
    ]
    feeds = {tensor.name: array for tensor, array in zip(model.inputs, inputs, strict=True)}
    wanted = _run(reference, names, feeds)
    got = _run(runnable, [_as_taken(graph, name) for name in names], feeds)
    return [
        _compare(graph.makers[name], name, _precision(graph, name), first, second)
        for name, first, second in zip(names, wanted, got, strict=True)
    ]


def first_departure(layers: Sequence[Layer], beyond: float) -> Layer | None:
    """The first node whose relative error is beyond a bound; None where there is none."""
    return next((layer for layer in layers if not layer.relative_error <= beyond), None)


def describe_layers(layers: Sequence[Layer], beyond: float, count: int = 5) -> str:
    """What a message says of a comparison: the first departure, and the worst nodes."""
    first = first_departure(layers, beyond)
    worst = sorted(layers, key=lambda layer: -layer.relative_error)[:count]
    head = (
        f"no node departs by more than {beyond:.2g}; the farthest are:"
        if first is None
        else f"the first node to depart by more than {beyond:.2g} is {_line(first)}; the farthest:"
    )
    return "\n".join([head, *(f"  {_line(layer)}" for layer in worst)])


def _line(layer: Layer) -> str:
    return (
        f"{layer.node} ({layer.precision}): relative error {layer.relative_error:.3g}, largest "
        f"difference {layer.difference:.3g} where numbers reach {layer.largest:.3g}"
    )


def _run(
    model: onnx.ModelProto, names: Sequence[str], feeds: Mapping[str, npt.NDArray[np.generic]]
) -> list[npt.NDArray[np.float32]]:
    session = open_session(_reveal(model, names))
    answers: list[npt.NDArray[np.float32]] = session.run(names, feeds)
    return answers


def _as_taken(graph: Graph, tensor: str) -> str:
    """The name under which others take a tensor: behind its way through INT8, where it has one.

    There alone an activation shows that has become the range of what is quantised.
    """
    for kind in ("QuantizeLinear", "DequantizeLinear"):
        made = (node for node in graph.proto.node if node.op_type == kind)
        tensor = next((node.output[0] for node in made if node.input[0] == tensor), tensor)
    return tensor


def _reveal(model: onnx.ModelProto, names: Sequence[str]) -> bytes:
    """The model with tensors among its outputs."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    outputs = {value.name for value in shown.graph.output}
    shown.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in names
        if name not in outputs
    )
    return shown.SerializeToString()


def _precision(graph: Graph, tensor: str) -> str:
    makers = (graph.makers.get(name) for name in graph.makers[tensor].input)
    if any(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers):
        return "int8"
    names = {each.element_type: each.value for each in Precision}
    return names.get(graph.types[tensor], "fp32")


def _compare(
    node: NodeProto,
    tensor: str,
    precision: str,
    wanted: npt.NDArray[np.float32],
    got: npt.NDArray[np.float32],
) -> Layer:
    first, second = wanted.astype(np.float64), got.astype(np.float64)
    missing = np.isfinite(first) != np.isfinite(second)
    both = np.isfinite(first) & np.isfinite(second)
    differences = first[both] - second[both]
    scale = float(np.sqrt(np.mean(first[both] ** 2))) if both.any() else 0.0
    error = float(np.sqrt(np.mean(differences**2))) if both.any() else 0.0
    relative = 0.0 if error == 0 else error / scale if scale else float("inf")
    return Layer(
        label(node),
        tensor,
        precision,
        float(np.abs(first[both]).max(initial=0.0)),
        float("inf") if missing.any() else float(np.abs(differences).max(initial=0.0)),
        float("inf") if missing.any() else relative,
    )
