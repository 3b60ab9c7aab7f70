"""An FP32 graph to a strongly typed one in mixed precision: every Cast stands in the file.

Products and what lies between them are in half precision. FP32 islands are normalisations with
their scale and offset, Softmax, Erf and every sum or statistic, all in front of the first product,
and from each last product on: head, Sigmoid, quantisation, gate, calibration and decision. What is
not known to bear half precision stays FP32.

Not to be confused with `onnx_graph.halve_parameters`, which stores in half precision what is
computed in FP32.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

import numpy as np
import onnx
import onnx_ir
import onnx_ir.passes.common as ir_passes
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnxscript import optimizer, rewriter, version_converter
from onnxscript.rewriter.rules import common as rules

from thyroid_export.engine_graph import Graph
from thyroid_export.onnx_graph import ExportError

# Opset 22 is the first whose Conv, ConvTranspose and pooling take BFLOAT16.
_BF16_OPSET = 22

_PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_NORMS = {"GroupNormalization", "InstanceNormalization", "LayerNormalization"}
# Scale and offset of a normalisation that has none of its own.
_AFFINE = {"Add", "Mul", "Reshape"}
# They move numbers and do not change them.
MOVERS = {
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Pad",
    "Relu",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}
# What lies between products and bears half precision; all else stays FP32.
_CARRIERS = MOVERS | {"Add", "Clip", "Mul", "Resize"}
# Sizes, of which nothing is computed in half precision.
_SIZES = {"Shape", "Size"}
# Inputs by position that keep their type, whatever that of the data is.
_FP32_INPUTS = {"Resize": {1, 2}}
_ALL_ELEMENTS = 1 << 62
_STORED_SUFFIX = ".fp32"  # of `halve_parameters`: behind it stands what the arithmetic sees


class Precision(Enum):
    """A half precision. The value is its name on the command line and in plans' records."""

    FP16 = "fp16"
    BF16 = "bf16"

    @property
    def element_type(self) -> int:
        """Its type in ONNX."""
        return int(TensorProto.FLOAT16 if self is Precision.FP16 else TensorProto.BFLOAT16)

    @property
    def largest(self) -> float:
        """Its largest number."""
        # BFLOAT16 has FP32's exponents and 8 bits of mantissa, the hidden one included.
        return 65504.0 if self is Precision.FP16 else (2 - 2**-7) * 2.0**127

    @property
    def roundoff(self) -> float:
        """Largest relative error of rounding to it (unit roundoff)."""
        return 2.0**-11 if self is Precision.FP16 else 2.0**-8


def mix_precision(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """Rewrite an FP32 graph in mixed precision.

    Args:
        model: FP32, as `export_graph` or `halve_parameters` gives it; left as it is.
        precision: Of the products.

    Returns:
        The graph of opset 18, for BF16 22. Inputs and outputs keep names and types, and tensors
        between them their names. Normalisations of batches have become part of the convolutions in
        front of them, constants are folded.

    Raises:
        ExportError: A weight is beyond the precision's range, or the graph has no product that
            another follows.
    """
    folded = _fold(model, precision)
    graph = Graph(folded)
    half = _half_nodes(graph)
    if not half:
        raise ExportError(
            "the graph holds no product that another one follows, so that nothing would be in "
            "half precision; a network was wanted: leave it in FP32"
        )
    mixed = _Rewriter(graph, precision).rewrite(folded, half)
    onnx.checker.check_model(mixed, full_check=True)
    return mixed


def _fold(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """Fold constants, and normalisations of batches into the products in front of them, in FP32."""
    own = onnx.ModelProto()
    own.CopyFrom(model)  # the program writes into the message that it was made of
    program = onnx_ir.serde.deserialize_model(own)
    optimizer.fold_constants(
        program,
        onnx_shape_inference=False,
        input_size_limit=_ALL_ELEMENTS,
        output_size_limit=_ALL_ELEMENTS,
    )
    rewriter.rewrite(
        program,
        pattern_rewrite_rules=[
            rules.fuse_batchnorm_into_conv_rule,
            rules.fuse_batchnorm_into_conv_transpose_rule,
            rules.fuse_batchnorm_into_gemm_rule,
        ],
    )
    ir_passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(program)
    optimizer.remove_unused_nodes(program)
    if precision is Precision.BF16:
        version_converter.convert_version(program, _BF16_OPSET)
    folded: onnx.ModelProto = onnx_ir.serde.serialize_model(program)
    return folded


def _half_nodes(graph: Graph) -> set[int]:
    """Positions of the nodes that compute in half precision."""
    nodes = list(graph.proto.node)
    products = {index for index, node in enumerate(nodes) if node.op_type in _PRODUCTS}
    leads = _leading_to(nodes, products)
    # From the last products on, all is FP32.
    half = {index for index in products if leads.intersection(nodes[index].output)}
    leads = _leading_to(nodes, half)
    behind: set[str] = set()  # tensors behind a product in half precision
    normalised: set[str] = set()  # a normalisation's, until its scale and offset are through
    outputs = {value.name for value in graph.proto.output}
    for index, node in enumerate(nodes):
        varying = _varying(graph, node)
        if index in half or (behind & varying and node.op_type not in _SIZES):
            behind.update(node.output)
        is_affine = node.op_type in _AFFINE and len(varying) == 1 and varying <= normalised
        if node.op_type in _NORMS or is_affine:
            normalised.update(node.output)
        elif (
            node.op_type in _CARRIERS
            and behind & varying
            and leads.intersection(node.output)
            and not outputs.intersection(node.output)
        ):
            half.add(index)
    return half


def _varying(graph: Graph, node: NodeProto) -> set[str]:
    """The FP32 inputs of a node that depend on an input of the graph."""
    return {
        name
        for name in node.input
        if graph.types.get(name) == TensorProto.FLOAT and name not in graph.constants
    }


def _leading_to(nodes: list[NodeProto], targets: Iterable[int]) -> set[str]:
    """The tensors of which the results of some nodes are made, sizes aside."""
    wanted, leads = set(targets), set[str]()
    for index in reversed(range(len(nodes))):
        node = nodes[index]
        if index in wanted or (leads.intersection(node.output) and node.op_type not in _SIZES):
            leads.update(node.input)
    return leads


class _Rewriter:
    """Writes the nodes anew, each with inputs of one type."""

    def __init__(self, graph: Graph, precision: Precision) -> None:
        self._graph = graph
        self._precision = precision
        self._types = dict(graph.types)
        self._constants = {each.name: each for each in graph.proto.initializer}
        self._nodes: list[NodeProto] = []
        self._made: set[str] = set()

    def rewrite(self, folded: onnx.ModelProto, half: set[int]) -> onnx.ModelProto:
        for index, node in enumerate(folded.graph.node):
            self._add(node, self._precision.element_type if index in half else TensorProto.FLOAT)
        mixed = onnx.ModelProto()
        mixed.CopyFrom(folded)
        del mixed.graph.node[:], mixed.graph.initializer[:], mixed.graph.value_info[:]
        mixed.graph.node.extend(self._nodes)
        used = {name for node in self._nodes for name in node.input}
        mixed.graph.initializer.extend(
            constant for name, constant in self._constants.items() if name in used
        )
        return mixed

    def _add(self, node: NodeProto, kind: int) -> None:
        typed = NodeProto()
        typed.CopyFrom(node)
        kept = _FP32_INPUTS.get(node.op_type, set())
        # A size is of no type's numbers, and wants no Cast in front.
        floats = (
            set() if node.op_type in _SIZES else {TensorProto.FLOAT, self._precision.element_type}
        )
        for position, name in enumerate(node.input):
            if position not in kept and self._types.get(name) in floats:
                typed.input[position] = self._take(name, kind)
        self._nodes.append(typed)
        if kind != TensorProto.FLOAT:
            self._types.update(
                (name, kind)
                for name in node.output
                if self._graph.types.get(name) == TensorProto.FLOAT
            )

    def _take(self, name: str, kind: int) -> str:
        """The name under which a tensor is of a type; casts it where it is none of it yet."""
        if self._types[name] == kind:
            return name
        suffix = "fp32" if kind == TensorProto.FLOAT else self._precision.value
        cast = f"{name.removesuffix(_STORED_SUFFIX)}.{suffix}"
        if cast in self._made:
            return cast
        self._made.add(cast)
        if name in self._constants:
            self._constants[cast] = self._round(self._constants[name], cast)
        else:
            self._nodes.append(
                helper.make_node("Cast", [name], [cast], name=f"{cast}.cast", to=kind)
            )
        return cast

    def _round(self, constant: TensorProto, name: str) -> TensorProto:
        values = numpy_helper.to_array(constant)
        if values.size and np.abs(values).max() > self._precision.largest:
            raise ExportError(
                f"{constant.name} reaches {np.abs(values).max():g}, {self._precision.value} ends "
                f"at {self._precision.largest:g}: take --precision bf16, or leave it in FP32"
            )
        kind = self._precision.element_type
        return numpy_helper.from_array(values.astype(helper.tensor_dtype_to_np_dtype(kind)), name)
