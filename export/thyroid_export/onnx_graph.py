"""A network as it is served to an ONNX graph that keeps every parameter's name."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Collection, Mapping

import numpy as np
import onnx
import onnx_ir
import onnx_ir.passes.common as ir_passes
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxscript import optimizer
from torch import Tensor, nn

from thyroid_pipeline import contract
from thyroid_training.encoder import fold_standardisation

# 17 brought LayerNormalization; 18 is what torch's exporter writes without converting. TensorRT 10
# and 11, and ONNX Runtime from 1.14, read it.
OPSET = 18

# What folding is for are the chains of Shape, Gather and Concat, which hold a few numbers each.
_FOLD_LIMIT_ELEMENTS = 16

# Parameters of at least this many elements are stored in half precision. Below it, biases and
# statistics of batches would save nothing, and a variance may leave half precision's range.
_HALF_FROM_ELEMENTS = 1024


class ExportError(ValueError):
    """A network cannot be exported as the contract wants it."""


def example_inputs(model: contract.Model, batch: int) -> tuple[Tensor, ...]:
    """Zero-filled inputs of a model's types and shapes, with a batch axis."""
    return tuple(
        torch.from_numpy(np.zeros((batch, *tensor.shape), tensor.data_type.numpy))
        for tensor in model.inputs
    )


def export_graph(
    graph: nn.Module, model: contract.Model, metadata: Mapping[str, str] | None = None
) -> onnx.ModelProto:
    """Export a serving graph.

    Args:
        graph: A module of `thyroid_training.serving`; it is left as it is.
        model: Its inputs and outputs in the contract.
        metadata: Written into the file.

    Returns:
        The ONNX model, opset 18: batch axis dynamic, parameters FP32 under their own names.

    Raises:
        ExportError: A parameter is no number, a parameter's name was lost on the way, a UINT8 input
            is not cast first, or inputs and outputs are not the contract's.
    """
    _check_finite(graph)
    graph = copy.deepcopy(graph).eval()
    fold_standardisation(graph)
    batch = torch.export.Dim("batch", min=1, max=1024)
    # The exporter warns of its own internals, of torchvision, which no graph here needs, and that
    # two inputs share one batch axis, which is meant.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph,
            example_inputs(model, batch=2),
            dynamo=True,
            # The exporter's optimisation would fuse normalisation into convolutions, and the
            # parameters' names with it. Runtimes fuse at load all the same.
            optimize=False,
            opset_version=OPSET,
            input_names=[tensor.name for tensor in model.inputs],
            output_names=[tensor.name for tensor in model.outputs],
            dynamic_shapes=tuple({0: batch} for _ in model.inputs),
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export gave no program: install the `export` extra's torch")
    optimizer.fold_constants(
        program.model,
        onnx_shape_inference=True,
        input_size_limit=_FOLD_LIMIT_ELEMENTS,
        output_size_limit=_FOLD_LIMIT_ELEMENTS,
        should_fold=_keeps(set(graph.state_dict())),
    )
    ir_passes.CommonSubexpressionEliminationPass()(program.model)
    optimizer.remove_unused_nodes(program.model)
    exported: onnx.ModelProto = program.model_proto
    _enter_by_cast(exported)
    _check_names(exported, graph)
    _check_contract(exported, model)
    for key, value in (metadata or {}).items():
        exported.metadata_props.add(key=key, value=value)
    exported.producer_name = "thyroid-export"
    _drop_traces(exported)
    onnx.checker.check_model(exported, full_check=True)
    return exported


def _keeps(parameters: Collection[str]) -> Callable[[onnx_ir.Node], bool | None]:
    """Fold no node that reads a parameter: it would vanish into a constant of another name."""

    def should_fold(node: onnx_ir.Node) -> bool | None:
        reads = any(value is not None and value.name in parameters for value in node.inputs)
        return False if reads else None

    return should_fold


def _enter_by_cast(exported: onnx.ModelProto) -> None:
    """Let all that reads a UINT8 input read it through its Cast: TensorRT takes nothing else.

    The exporter asks the input itself for the size of the batch.
    """
    for value in exported.graph.input:
        if value.type.tensor_type.elem_type != TensorProto.UINT8:
            continue
        readers = [node for node in exported.graph.node if value.name in node.input]
        cast = next((node for node in readers if node.op_type == "Cast"), None)
        if cast is None:
            raise ExportError(
                f"nothing casts the UINT8 input {value.name}, TensorRT wants that first: let the "
                "graph convert it to FP32"
            )
        for node in readers:
            if node is not cast:
                node.input[:] = [
                    cast.output[0] if name == value.name else name for name in node.input
                ]
        # In front of all its new readers.
        entry = onnx.NodeProto()
        entry.CopyFrom(cast)
        exported.graph.node.remove(cast)
        exported.graph.node.insert(0, entry)


def _check_finite(graph: nn.Module) -> None:
    broken = [name for name, value in graph.state_dict().items() if not value.isfinite().all()]
    if broken:
        raise ExportError(
            f"{len(broken)} parameters hold NaN or infinity, {broken[0]} first: the network has "
            "diverged, train it again"
        )


def _check_contract(exported: onnx.ModelProto, model: contract.Model) -> None:
    """Triton would refuse another name, type or shape, or worse, hand it to the next step."""
    for values, tensors in (
        (exported.graph.input, model.inputs),
        (exported.graph.output, model.outputs),
    ):
        found = [_signature(value) for value in values]
        wanted = [
            (tensor.name, helper.np_dtype_to_tensor_dtype(tensor.data_type.numpy), *tensor.shape)
            for tensor in tensors
        ]
        if found != wanted:
            raise ExportError(
                f"the graph's tensors (name, ONNX type, shape without the batch axis) are {found}, "
                f"{wanted} were wanted for {model.name}: build the network with the contract's "
                "sides"
            )


def _signature(value: onnx.ValueInfoProto) -> tuple[str | int, ...]:
    tensor = value.type.tensor_type
    batch, *dimensions = tensor.shape.dim
    if not batch.dim_param:
        raise ExportError(
            f"{value.name} has a batch axis of {batch.dim_value}, a dynamic one was wanted: check "
            "what in the graph fixes it"
        )
    return value.name, tensor.elem_type, *(axis.dim_value for axis in dimensions)


def _check_names(exported: onnx.ModelProto, graph: nn.Module) -> None:
    written = {initializer.name for initializer in exported.graph.initializer}
    lost = [
        name
        for name in graph.state_dict()
        if name not in written and not name.endswith("num_batches_tracked")
    ]
    if lost:
        raise ExportError(
            f"{len(lost)} parameters lost their names in the export, {lost[0]} first; all were "
            "wanted under their own, so that the file can be read back: check what folds them"
        )


def _drop_traces(exported: onnx.ModelProto) -> None:
    """Drop the exporter's notes on each node: source lines and paths of the exporting machine."""
    for node in exported.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*exported.graph.input, *exported.graph.output, *exported.graph.value_info):
        value.ClearField("metadata_props")
    for initializer in exported.graph.initializer:
        initializer.ClearField("metadata_props")
    exported.graph.ClearField("metadata_props")
    exported.graph.ClearField("value_info")


def halve_parameters(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store the large parameters in half precision, each with a Cast to FP32 behind it.

    The arithmetic stays FP32: a runtime folds each Cast into a constant when it loads the file. The
    file is half the size.

    Args:
        model: FP32; left as it is.

    Returns:
        The smaller model. The parameters keep their names.

    Raises:
        ExportError: A parameter does not fit half precision's range.
    """
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    casts, renamed = [], {}
    for initializer in halved.graph.initializer:
        values = numpy_helper.to_array(initializer)
        if values.dtype != np.float32 or values.size < _HALF_FROM_ELEMENTS:
            continue
        if np.abs(values).max() > np.finfo(np.float16).max:
            raise ExportError(
                f"{initializer.name} reaches {np.abs(values).max():g}, half precision ends at "
                f"{np.finfo(np.float16).max:g}: the network has diverged, train it again"
            )
        initializer.CopyFrom(numpy_helper.from_array(values.astype(np.float16), initializer.name))
        renamed[initializer.name] = f"{initializer.name}.fp32"
        casts.append(
            helper.make_node(
                "Cast",
                [initializer.name],
                [renamed[initializer.name]],
                name=f"{initializer.name}.cast",
                to=TensorProto.FLOAT,
            )
        )
    for node in halved.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
    nodes = [*casts, *halved.graph.node]
    del halved.graph.node[:]
    halved.graph.node.extend(nodes)
    onnx.checker.check_model(halved, full_check=True)
    return halved
