"""A fitted forest as the ONNX graph of `contract.MORPHOLOGY_FOREST`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType

from thyroid_export.onnx_graph import OPSET
from thyroid_pipeline import contract
from thyroid_training.forest import Forest

# The trees' own operators. 3 came with ONNX Runtime 1.11; later versions of the domain change
# nothing that is used here.
_TREES_DOMAIN = "ai.onnx.ml"
_TREES_OPSET = 3

_BATCH = "batch"
_FIGURES = "figures"

_TENSOR_TYPES = {
    contract.DataType.BOOL: TensorProto.BOOL,
    contract.DataType.FP32: TensorProto.FLOAT,
}


def forest_graph(forest: Forest) -> onnx.ModelProto:
    """Convert a forest, with what the contract wants around it.

    The graph picks the fields that the forest sees, fills what could not be measured, asks the
    trees, and answers NaN where no nodule was found, where the frame is out of distribution, and
    where a row holds no figure at all.

    Args:
        forest: Fitted.

    Returns:
        The ONNX model; its batch axis is dynamic.
    """
    opsets = {"": OPSET, _TREES_DOMAIN: _TREES_OPSET}
    converted: onnx.ModelProto = to_onnx(
        forest.pipeline,
        initial_types=[(_FIGURES, FloatTensorType([None, len(forest.config.fields)]))],
        options={id(forest.pipeline): {"zipmap": False}},
        target_opset=opsets,
    )
    _, probabilities = (output.name for output in converted.graph.output)
    morphology, nodule_found, ood_score = (
        tensor.name for tensor in contract.MORPHOLOGY_FOREST.inputs
    )
    (answer,) = (tensor.name for tensor in contract.MORPHOLOGY_FOREST.outputs)
    constants: dict[str, npt.NDArray[np.generic]] = {
        "columns": np.array(forest.config.columns, np.int64),
        "malignant": np.array([1], np.int64),
        "axis_of_figures": np.array([1], np.int64),
        "ood_limit": np.array(contract.OOD_LIMIT, np.float32),
        "one": np.array(1, np.int32),
        "none": np.array(np.nan, np.float32),
    }
    nodes = [
        helper.make_node("Gather", [morphology, "columns"], [_FIGURES], axis=1),
        *converted.graph.node,
        helper.make_node("Gather", [probabilities, "malignant"], ["share"], axis=1),
        # Not more than the limit: a score that is no number is no answer either.
        helper.make_node("LessOrEqual", [ood_score, "ood_limit"], ["in_distribution"]),
        helper.make_node("And", [nodule_found, "in_distribution"], ["asked"]),
        # No minimum of BOOL before opset 20.
        helper.make_node("IsNaN", [_FIGURES], ["unknown"]),
        helper.make_node("Cast", ["unknown"], ["unknown_count"], to=TensorProto.INT32),
        helper.make_node("ReduceMin", ["unknown_count", "axis_of_figures"], ["all_unknown"]),
        helper.make_node("Less", ["all_unknown", "one"], ["known"]),
        helper.make_node("And", ["asked", "known"], ["answered"]),
        helper.make_node("Where", ["answered", "share", "none"], [answer]),
    ]
    graph = helper.make_graph(
        nodes,
        contract.MORPHOLOGY_FOREST.name,
        [_value(tensor) for tensor in contract.MORPHOLOGY_FOREST.inputs],
        [_value(tensor) for tensor in contract.MORPHOLOGY_FOREST.outputs],
        [
            *converted.graph.initializer,
            *(numpy_helper.from_array(value, name) for name, value in constants.items()),
        ],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = helper.make_model(
        graph,
        opset_imports=imports,
        ir_version=helper.find_min_ir_version_for(imports),
        producer_name="thyroid-export",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _value(tensor: contract.Tensor) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        tensor.name, _TENSOR_TYPES[tensor.data_type], [_BATCH, *tensor.shape]
    )
