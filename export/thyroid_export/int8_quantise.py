"""From a network in FP32 to one in INT8, by ONNX Runtime's static quantisation.

Weights are INT8 with a scale for each channel, ranges of activations those from the least to the
greatest value over some images, and every QuantizeLinear and DequantizeLinear stands in the file
(QDQ).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import NodeProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from thyroid_export.int8_graph import Scope, int8_nodes
from thyroid_export.mixed_parity import ImageSet
from thyroid_pipeline import contract

_CONV = "Conv"


@dataclass(frozen=True)
class Setting:
    """One way to quantise a network.

    Attributes:
        scope: What is in INT8.
        weight_bits: 8, or 7: a processor without VNNI adds two products in 16 bit, where those of
            8 bit may saturate and change the answer. Those of 7 bit cannot.
        is_symmetric: Whether activations are INT8 around zero and quantised in front of the
            convolutions alone, as TensorRT wants both; else they are UINT8 with a zero point, and
            what lies between the convolutions is quantised, too, as ONNX Runtime's kernels want it.
    """

    scope: Scope
    weight_bits: int = 8
    is_symmetric: bool = False

    @property
    def name(self) -> str:
        """A name for files and results, such as `all-7bit`."""
        numbers = "symmetric" if self.is_symmetric else f"{self.weight_bits}bit"
        return f"{self.scope.name.lower()}-{numbers}"

    @property
    def numbers(self) -> str:
        """What its numbers are, for a reader."""
        zero = ", activations around zero" if self.is_symmetric else ""
        return f"weights of {self.weight_bits} bit{zero}"


# For ONNX Runtime on a CPU, and for plans.
INT8 = Setting(Scope.ALL, weight_bits=7)
INT8_SYMMETRIC = Setting(Scope.INNER, is_symmetric=True)


@dataclass(frozen=True)
class Quantised:
    """A network in INT8.

    Attributes:
        path: The file.
        convolutions: How many of its convolutions are in INT8.
        all_convolutions: How many it has.
    """

    path: Path
    convolutions: int
    all_convolutions: int


def fold(network: Path, out: Path) -> None:
    """Fold constants, and normalisations of batches into the convolutions in front of them.

    Args:
        network: The ONNX file in FP32, left as it is.
        out: The file to write.
    """
    quant_pre_process(str(network), str(out), skip_symbolic_shape=True)


def quantise(
    folded: Path, model: contract.Model, setting: Setting, images: ImageSet, out: Path
) -> Quantised:
    """Write a network in INT8.

    Args:
        folded: What `fold` wrote.
        model: Of the contract.
        setting: What is in INT8, and how.
        images: Inputs of the network, over which ranges are found.
        out: The file to write. Inputs and outputs keep names and types, the batch stays open.

    Raises:
        ValueError: The network has no convolution within the setting's scope.
    """
    graph = onnx.load(folded)
    nodes = int8_nodes(graph, setting.scope)
    kind, options = QuantType.QUInt8, {}
    if setting.is_symmetric:
        nodes = [node for node in nodes if node.op_type == _CONV]
        kind = QuantType.QInt8
        options = {
            "ActivationSymmetric": True,
            # TensorRT adds biases in FP32, and takes no INT32 to dequantise.
            "QuantizeBias": False,
            # Behind a convolution its sum and activation come first, which TensorRT fuses with it.
            "OpTypesToExcludeOutputQuantization": [_CONV],
        }
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it is at
        quantize_static(
            str(folded),
            str(out),
            _Rows(model, images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=sorted({node.op_type for node in nodes}),
            nodes_to_quantize=[node.name for node in nodes],
            per_channel=True,
            reduce_range=setting.weight_bits == 7,
            activation_type=kind,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            # One image at a time: all tensors of all images at once are gigabytes.
            extra_options={"CalibStridedMinMax": 1, **options},
        )
    return Quantised(out, _convolutions(nodes), _convolutions(graph.graph.node))


class _Rows(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Hands images over one by one, those of a range that is set before."""

    def __init__(self, model: contract.Model, images: ImageSet) -> None:
        names = [tensor.name for tensor in model.inputs]
        self._rows = [dict(zip(names, row, strict=True)) for row in images.rows()]
        self._left = list(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._left = self._rows[start_index:end_index]

    def get_next(self) -> dict[str, Any] | None:
        return self._left.pop(0) if self._left else None


def _convolutions(nodes: Iterable[NodeProto]) -> int:
    return sum(node.op_type == _CONV for node in nodes)
