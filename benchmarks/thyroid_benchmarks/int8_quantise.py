"""From a network in FP32 to one in INT8, by ONNX Runtime's static quantisation.

Activations are UINT8 with a zero point, weights INT8 with a scale for each channel, and every
QuantizeLinear and DequantizeLinear stands in the file (QDQ).
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from thyroid_benchmarks.int8_graph import Setting, int8_nodes
from thyroid_export.mixed_parity import ImageSet
from thyroid_pipeline import contract

# Of the values of a tensor that its range holds, where that is not from the least to the greatest.
PERCENTILE = 99.99


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
        setting: What is in INT8, and how ranges are found.
        images: Inputs of the network, over which they are found.
        out: The file to write.

    Raises:
        ValueError: The network has no convolution within the setting's scope.
    """
    graph = onnx.load(folded)
    nodes = int8_nodes(graph, setting.scope)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it is at
        quantize_static(
            str(folded),
            str(out),
            _Rows(model, images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=sorted({node.op_type for node in nodes}),
            nodes_to_quantize=[node.name for node in nodes],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[setting.calibration.value],
            # One image at a time: histograms else want all tensors of all images at once.
            extra_options={"CalibPercentile": PERCENTILE, "CalibStridedMinMax": 1},
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


def _convolutions(nodes: Any) -> int:
    return sum(node.op_type == "Conv" for node in nodes)
