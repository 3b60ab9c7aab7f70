"""A small model repository, real servers on it, and a look at what they leave behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import pytest
import tritonclient.grpc as triton
from onnx import TensorProto, helper

from thyroid_pipeline import contract
from thyroid_server import wheel
from thyroid_server.embedded import EmbeddedTriton, ServerSettings
from thyroid_server.errors import PreflightError

if TYPE_CHECKING:
    from fake_rtx import FakeLibrary

OPSET = 17
DEADLINE_S = 60.0
# Waits until 4 requests have come: far longer than sending them takes, so that they meet.
GATHER_4 = "preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 10000000"


def write_onnx(
    file: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: dict[str, tuple[int, list[Any]]],
    initializers: list[onnx.TensorProto] | None = None,
) -> Path:
    """An ONNX file of the given nodes; tensors as name: (element type, shape)."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        initializers or [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, file)
    return file


def write_affine(repository: Path, name: str, batching: str) -> None:
    """y = 2x + 1, and s = the sum of x along the last axis."""
    model = repository / name
    write_onnx(
        model / "1" / "model.onnx",
        [
            helper.make_node("Mul", ["x", "two"], ["twice"]),
            helper.make_node("Add", ["twice", "one"], ["y"]),
            helper.make_node("ReduceSum", ["x", "last"], ["s"], keepdims=1),
        ],
        {"x": (TensorProto.FLOAT, ["batch", "length"])},
        {"y": (TensorProto.FLOAT, ["batch", "length"]), "s": (TensorProto.FLOAT, ["batch", 1])},
        [
            helper.make_tensor("two", TensorProto.FLOAT, [], [2.0]),
            helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
            helper.make_tensor("last", TensorProto.INT64, [1], [-1]),
        ],
    )
    # As for a TensorRT plan, except under the profile `cpu`.
    (model / "config.pbtxt").write_text(f'name: "{name}" platform: "tensorrt_plan"\n')
    (model / "configs").mkdir()
    (model / "configs" / "cpu.pbtxt").write_text(
        f'name: "{name}" dynamic_batching {{ {batching} }}'
        """
        backend: "onnxruntime" max_batch_size: 8
        input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
        output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
        output { name: "s" data_type: TYPE_FP32 dims: [ 1 ] }
        instance_group { count: 1 kind: KIND_CPU }
        parameters { key: "intra_op_thread_count" value: { string_value: "1" } }
        optimization { graph { level: 1 } }
        """
    )


def write_lookup(repository: Path) -> None:
    """`lookup`: value = table[index]; ONNX Runtime refuses an index outside the table of 4."""
    model = repository / "lookup"
    write_onnx(
        model / "1" / "model.onnx",
        [helper.make_node("Gather", ["table", "index"], ["value"])],
        {"index": (TensorProto.INT64, ["batch", 1])},
        {"value": (TensorProto.FLOAT, ["batch", 1])},
        [helper.make_tensor("table", TensorProto.FLOAT, [4], [10.0, 11.0, 12.0, 13.0])],
    )
    (model / "config.pbtxt").write_text(
        f"dynamic_batching {{ {GATHER_4} }}"
        """
        name: "lookup" backend: "onnxruntime" max_batch_size: 8
        input { name: "index" data_type: TYPE_INT64 dims: [ 1 ] }
        output { name: "value" data_type: TYPE_FP32 dims: [ 1 ] }
        instance_group { count: 1 kind: KIND_CPU }
        """
    )


def write_screening(repository: Path) -> None:
    """A Python model that answers as the contract's ensemble does, with zeros."""
    ensemble = contract.ENSEMBLE
    model = repository / ensemble.name
    (model / "1").mkdir(parents=True)
    tensors = [("input", tensor) for tensor in ensemble.inputs]
    tensors += [("output", tensor) for tensor in ensemble.outputs]
    (model / "config.pbtxt").write_text(
        f'name: "{ensemble.name}" backend: "python" max_batch_size: {contract.MAX_BATCH_SIZE}\n'
        "instance_group { count: 1 kind: KIND_CPU }\n"
        + "\n".join(
            f'{kind} {{ name: "{tensor.name}" data_type: {tensor.data_type.config_name} '
            f"dims: {list(tensor.shape)} }}"
            for kind, tensor in tensors
        )
    )
    (model / "1" / "model.py").write_text(
        """
import numpy as np
import triton_python_backend_utils as pb_utils
from thyroid_pipeline import contract
from thyroid_server import wheel


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor(o.name, np.zeros((1, *o.shape), o.data_type.numpy))
                    for o in contract.ENSEMBLE.outputs
                ]
            )
            for _ in requests
        ]
"""
    )


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models on a path that a shell would split.

    `affine`, `gathered` (the same, in batches of 4), `lookup` and a stand-in for the ensemble.
    """
    folder = tmp_path_factory.mktemp("server") / "it's a $HOME; repository"
    write_affine(folder, "affine", "")
    write_affine(folder, "gathered", GATHER_4)
    write_lookup(folder)
    write_screening(folder)
    return folder


@pytest.fixture(scope="session")
def lean_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for the ensemble alone: one stub, which starts quickly."""
    folder = tmp_path_factory.mktemp("lean")
    write_screening(folder)
    return folder


@pytest.fixture(scope="session")
def settings(lean_repository: Path) -> ServerSettings:
    """Settings of a server that starts quickly."""
    return ServerSettings(lean_repository, start_timeout_s=DEADLINE_S, stop_timeout_s=20.0)


@pytest.fixture(scope="session")
def hasty(settings: ServerSettings) -> ServerSettings:
    """The same, killed rather than stopped: for tests that are not about the stop."""
    return replace(settings, stop_timeout_s=0.0)


@pytest.fixture(scope="session")
def server(settings: ServerSettings, repository: Path) -> Iterator[EmbeddedTriton]:
    """The shared server, on the models of `repository`."""
    shared = replace(settings, model_repository=repository, profile="cpu")
    with EmbeddedTriton(shared) as server:
        yield server


@pytest.fixture(scope="session")
def client(server: EmbeddedTriton) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc_address) as client:
        yield client


@pytest.fixture(name="write_onnx", scope="session")
def write_onnx_fixture() -> Callable[..., Path]:
    return write_onnx


@pytest.fixture
def library() -> FakeLibrary:
    """TensorRT for RTX, on a GPU that is made up."""
    from fake_rtx import FakeLibrary  # noqa: PLC0415  # needs what `needs_rtx` asks for

    return FakeLibrary()


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan that it loads."""
    from fake_rtx import write_plan  # noqa: PLC0415

    return write_plan(tmp_path)


@pytest.fixture
def fake_wheel() -> Callable[[Path], wheel.TritonWheel]:
    """Writes a wheel of empty files, laid out as the real one, into a folder."""

    def write(root: Path) -> wheel.TritonWheel:
        real = wheel.find_wheel()
        for file in (real.server, real.python_library, real.python_utilities, real.stub):
            copy = root / file.relative_to(wheel.installed_root())
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.touch()
        (root / real.libraries.name).mkdir()
        return wheel.find_wheel(root)

    return write


@pytest.fixture
def message_of() -> Callable[[pytest.ExceptionInfo[PreflightError]], str]:
    """Takes the message of a failed check, after a look that it says all three things."""

    def take(error: pytest.ExceptionInfo[PreflightError]) -> str:
        came, wanted, mend = str(error.value).split("\n")
        assert came
        assert wanted.startswith("  wanted: ")
        assert mend.startswith("  to mend it: ")
        return str(error.value)

    return take
