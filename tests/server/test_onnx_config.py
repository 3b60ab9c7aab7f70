"""What a Triton configuration says to ONNX Runtime, and where it contradicts the ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from onnx import TensorProto, helper

from thyroid_server.onnx_config import ModelConfigError, run_options, session_options
from thyroid_server.onnx_session import OnnxModel

INTRA_SPINNING = "session.intra_op.allow_spinning"
INTER_SPINNING = "session.inter_op.allow_spinning"


def parameters(**values: str) -> dict[str, Any]:
    """A configuration with these parameters; `__` stands for a dot."""
    return {
        "parameters": {
            name.replace("__", "."): {"string_value": value} for name, value in values.items()
        }
    }


def test_the_defaults_do_not_spin() -> None:
    options = session_options({})
    assert options.get_session_config_entry(INTRA_SPINNING) == "0"
    assert options.get_session_config_entry(INTER_SPINNING) == "0"
    assert options.intra_op_num_threads == 0
    assert options.inter_op_num_threads == 0
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert options.enable_cpu_mem_arena
    assert options.enable_mem_pattern


def test_the_names_of_the_native_backend_are_followed() -> None:
    config = parameters(
        intra_op_thread_count="3",
        inter_op_thread_count="2",
        execution_mode="1",
        enable_mem_arena="0",
        enable_mem_pattern="false",
        session__intra_op__allow_spinning="1",
        session__use_device_allocator_for_initializers="1",
        memory__enable_memory_arena_shrinkage="cpu:0",
    )
    options = session_options(config)
    assert options.intra_op_num_threads == 3
    assert options.inter_op_num_threads == 2
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL
    assert not options.enable_cpu_mem_arena
    assert not options.enable_mem_pattern
    assert options.get_session_config_entry(INTRA_SPINNING) == "1"
    assert options.get_session_config_entry(INTER_SPINNING) == "0"
    entry = "session.use_device_allocator_for_initializers"
    assert options.get_session_config_entry(entry) == "1"
    shrinkage = run_options(config).get_run_config_entry("memory.enable_memory_arena_shrinkage")
    assert shrinkage == "cpu:0"


@pytest.mark.parametrize(
    ("level", "wanted"),
    [
        (-1, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC),
        (1, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED),
        (2, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL),
    ],
)
def test_graph_levels_mean_what_they_mean_to_the_native_backend(level: int, wanted: Any) -> None:
    config = {"optimization": {"graph": {"level": level}}}
    assert session_options(config).graph_optimization_level == wanted


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (parameters(intra_op_thread_count="many"), "intra_op_thread_count is 'many'"),
        (parameters(inter_op_thread_count="-1"), "inter_op_thread_count is -1"),
        (parameters(execution_mode="2"), "execution_mode is 2"),
        ({"optimization": {"graph": {"level": 7}}}, "level is 7"),
    ],
)
def test_a_value_that_means_nothing_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelConfigError, match=words):
        session_options(config)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory, write_onnx: Any) -> Path:
    """y = x for pictures of 3 x any x 8, in batches; z = y as well."""
    shape = ["batch", 3, "height", 8]
    file: Path = write_onnx(
        tmp_path_factory.mktemp("identity") / "model.onnx",
        [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["y"], ["z"])],
        {"x": (TensorProto.FLOAT, shape)},
        {"y": (TensorProto.FLOAT, shape), "z": (TensorProto.FLOAT, shape)},
    )
    return file


def config_of(**changes: Any) -> dict[str, Any]:
    """A configuration that fits `identity`, but for the changes to its input."""
    tensor = {"data_type": "TYPE_FP32", "dims": [3, -1, 8]}
    return {
        "max_batch_size": 4,
        "input": [{"name": "x", **tensor, **changes}],
        "output": [{"name": "y", **tensor}],
    }


@pytest.mark.parametrize(
    "config",
    [
        config_of(),
        config_of(dims=[3, 5, 8]),  # the graph leaves the height open, and the config may fix it
        config_of(dims=["3", "-1", "8"]),  # 64-bit numbers are strings in protobuf's JSON
        config_of() | {"output": [config_of()["input"][0] | {"name": "z"}]},
    ],
)
def test_a_configuration_that_fits(identity: Path, config: dict[str, Any]) -> None:
    OnnxModel(identity, config)


def test_without_batching_the_dims_are_the_whole_shape(identity: Path) -> None:
    config = config_of() | {"max_batch_size": 0}
    with pytest.raises(ModelConfigError, match=r"dims \[3, -1, 8\] .* \[-1, 3, -1, 8\]"):
        OnnxModel(identity, config)
    for kind in ("input", "output"):
        config[kind] = [config[kind][0] | {"dims": [1, 3, -1, 8]}]
    OnnxModel(identity, config)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "w"}, "names the input w, which the ONNX file has not; its inputs are x"),
        ({"data_type": "TYPE_UINT8"}, "input x is TYPE_UINT8 in the config and TYPE_FP32 in"),
        ({"dims": [3, 8]}, r"dims \[3, 8\] in the config and \[3, -1, 8\] in the ONNX file"),
        ({"dims": [1, -1, 8]}, r"dims \[1, -1, 8\] in the config and \[3, -1, 8\]"),
        ({"dims": [-1, -1, 8]}, r"dims \[-1, -1, 8\] in the config and \[3, -1, 8\]"),
        ({"reshape": {"shape": [3]}}, "input x has a reshape"),
    ],
)
def test_a_configuration_that_contradicts_the_file(
    identity: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelConfigError, match=words):
        OnnxModel(identity, config_of(**changes))


@pytest.mark.parametrize("kind", ["input", "output"])
def test_a_configuration_without_tensors(identity: Path, kind: str) -> None:
    with pytest.raises(ModelConfigError, match=f"names no {kind}"):
        OnnxModel(identity, config_of() | {kind: []})


def test_every_input_must_be_named(tmp_path: Path, write_onnx: Any) -> None:
    vector = (TensorProto.FLOAT, ["batch", 1])
    file = write_onnx(
        tmp_path / "model.onnx",
        [helper.make_node("Add", ["a", "b"], ["c"])],
        {"a": vector, "b": vector},
        {"c": vector},
    )
    tensor = {"data_type": "TYPE_FP32", "dims": [1]}
    config = {
        "max_batch_size": 1,
        "input": [{"name": "a", **tensor}],
        "output": [{"name": "c", **tensor}],
    }
    with pytest.raises(ModelConfigError, match="needs the input b"):
        OnnxModel(file, config)


def test_a_fixed_batch_cannot_be_batched(tmp_path: Path, write_onnx: Any) -> None:
    vector = (TensorProto.FLOAT, [1, 2])
    file = write_onnx(
        tmp_path / "model.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        {"x": vector},
        {"y": vector},
    )
    config = config_of(dims=[2])
    with pytest.raises(ModelConfigError, match="first extent is no open batch"):
        OnnxModel(file, config)


def test_strings_are_refused(tmp_path: Path, write_onnx: Any) -> None:
    text = (TensorProto.STRING, ["batch", 1])
    file = write_onnx(
        tmp_path / "model.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        {"x": text},
        {"y": text},
    )
    config = config_of(data_type="TYPE_STRING", dims=[1])
    with pytest.raises(ModelConfigError, match=r"tensor\(string\), which this backend does not"):
        OnnxModel(file, config)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelConfigError, match=r"there is no .*gone\.onnx"):
        OnnxModel(tmp_path / "gone.onnx", config_of())
