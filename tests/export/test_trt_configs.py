"""The configs of the profiles with plans against the graphs that those are built from.

A plan takes its tensors from the ONNX file; Triton refuses it where the config says otherwise.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format
from onnx import TensorProto
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from thyroid_pipeline import contract
from thyroid_pipeline.plan_manifest import Runtime

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"
# What Triton's TensorRT backend takes, and what ONNX calls it.
TYPES: dict[int, str] = {
    TensorProto.FLOAT: "TYPE_FP32",
    TensorProto.FLOAT16: "TYPE_FP16",
    TensorProto.BFLOAT16: "TYPE_BF16",
    TensorProto.INT8: "TYPE_INT8",
    TensorProto.UINT8: "TYPE_UINT8",
    TensorProto.INT32: "TYPE_INT32",
    TensorProto.INT64: "TYPE_INT64",
    TensorProto.BOOL: "TYPE_BOOL",
}


@pytest.mark.parametrize(
    ("runtime", "file", "engine"),
    [
        (Runtime.TENSORRT, "config.pbtxt", ("tensorrt_plan", "")),
        (Runtime.RTX, "configs/rtx.pbtxt", ("", "tensorrt_rtx")),
    ],
)
@pytest.mark.parametrize("name", [model.name for model in contract.NETWORKS])
def test_config_and_graph_agree(
    name: str, runtime: Runtime, file: str, engine: tuple[str, str]
) -> None:
    folder = REPOSITORY / name
    config = text_format.Parse((folder / file).read_text(), ModelConfig())
    assert (config.platform, config.backend) == engine
    assert config.default_model_filename == runtime.plan_file
    assert config.max_batch_size == contract.MAX_BATCH_SIZE
    graph = onnx.load(folder / "1" / "model.onnx").graph
    for entries, values in ((config.input, graph.input), (config.output, graph.output)):
        configured = {
            entry.name: (DataType.Name(entry.data_type), [-1, *entry.dims]) for entry in entries
        }
        built = {
            value.name: (
                TYPES[value.type.tensor_type.elem_type],
                [
                    side.dim_value if side.HasField("dim_value") else -1
                    for side in value.type.tensor_type.shape.dim
                ],
            )
            for value in values
        }
        assert built
        assert configured == built
    assert max(config.dynamic_batching.preferred_batch_size) <= contract.MAX_BATCH_SIZE
