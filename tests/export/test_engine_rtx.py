"""The shipped networks through the real builder of TensorRT for RTX, which needs no GPU.

It is NVIDIA's own parser and optimiser, so that what it takes is proven: operators, types, the
dynamic batch, the UINT8 entry. Running an engine takes a GPU, and is not proven here.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from rtx_wheel import needs_rtx
from thyroid_export.engine_builder import BuildOptions, build_plan, targets_of
from thyroid_export.engine_cli import engine
from thyroid_export.engine_runtime import EngineError, load_runtime, loading_fault, version_of
from thyroid_export.trt_rules import find_violations
from thyroid_pipeline import contract
from thyroid_pipeline.plan_machine import Gpu, Machine, library_version
from thyroid_pipeline.plan_manifest import (
    BatchProfile,
    PlanRecord,
    Runtime,
    file_sha256,
    network_path,
    plan_path,
    read_record,
    record_path,
)
from thyroid_training.serving import SegmentationGraph
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import PAPER

pytestmark = needs_rtx

CHECKOUT = Path(__file__).resolve().parents[2]
NETWORKS = [model.name for model in contract.NETWORKS]
BATCH = BatchProfile(1, 8, 16)


@pytest.fixture(scope="module")
def trt() -> Any:
    return load_runtime(Runtime.RTX)


def write_relu(path: Path, nodes: list[onnx.NodeProto] | None = None) -> Path:
    graph = helper.make_graph(
        nodes or [helper.make_node("Relu", ["x"], ["y"], name="relu")],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def plan(trt: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small one."""
    file = write_relu(tmp_path_factory.mktemp("relu") / "model.onnx")
    return bytes(build_plan(trt, file, BuildOptions(BATCH)).plan)


def check_recorded(out: Path, network: Path, name: str, said: str, version: str) -> PlanRecord:
    """The plan and its record are what the command says, and all that it wrote; the record."""
    file = plan_path(out, name, Runtime.RTX)
    assert f"wrote {file}: " in said
    assert f"TensorRT for RTX {version}, fp32, batch 1 to 16" in said
    assert "warns" not in said
    record = read_record(record_path(file))
    assert record.model == name
    assert record.runtime is Runtime.RTX
    assert record.runtime_version == version
    assert record.onnx_sha256 == record.made_of_sha256 == file_sha256(network)
    assert record.plan_sha256 == file_sha256(file)
    assert record.plan_bytes == file.stat().st_size
    # It holds the weights, in FP32: twice the ONNX file.
    assert record.plan_bytes > network.stat().st_size
    assert (record.batch.min, record.batch.max) == (1, contract.MAX_BATCH_SIZE)
    assert record.precision == "fp32"
    assert sorted(path.name for path in file.parent.iterdir()) == [
        "model.rtx.plan",
        "model.rtx.plan.json",
    ]
    return record


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NETWORKS)
def test_shipped_networks_compile(name: str, tmp_path: Path, trt: Any) -> None:
    repository = CHECKOUT / "model_repository"
    arguments = ["--runtime", "rtx", "--model", name, "--out", str(tmp_path)]
    result = CliRunner().invoke(
        engine, [*arguments, "--model-repository", str(repository)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    check_recorded(tmp_path, network_path(repository, name), name, result.output, version_of(trt))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_paper_s_network_compiles(tmp_path: Path, trt: Any) -> None:
    """R50 + ViT-B/16, 105 million parameters; untrained weights have the same graph."""
    from thyroid_export.export_onnx import write_onnx  # noqa: PLC0415  # torch's exporter

    name = contract.TRANSUNET.name
    repository, out = tmp_path / "models", tmp_path / "appliance"
    file = network_path(repository, name)
    file.parent.mkdir(parents=True)
    write_onnx(SegmentationGraph(TransUNet(PAPER)), file)
    assert find_violations(onnx.load(file)) == []
    arguments = ["--runtime", "rtx", "--model", name, "--out", str(out)]
    result = CliRunner().invoke(
        engine, [*arguments, "--model-repository", str(repository)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    record = check_recorded(out, file, name, result.output, version_of(trt))
    assert record.plan_bytes > 105_000_000 * 4


# --- options


def test_it_compiles_for_the_targets_that_are_named(tmp_path: Path, trt: Any) -> None:
    assert {"7.5", "8.6", "8.9", "12.0"} <= set(targets_of(trt))
    file = write_relu(tmp_path / "model.onnx")
    default = build_plan(trt, file, BuildOptions(BATCH))
    turing = build_plan(trt, file, BuildOptions(BATCH, compute_capabilities=("7.5",)))
    assert bytes(default.plan) != bytes(turing.plan)
    for other in ("5.2", "89"):  # the second as the library itself writes 8.9
        with pytest.raises(EngineError, match=rf"capability {other} is none .* one of 7.5, 8.0"):
            build_plan(trt, file, BuildOptions(BATCH, compute_capabilities=(other,)))


def test_what_it_cannot_build_is_said_in_its_own_words(tmp_path: Path, trt: Any) -> None:
    lean = BuildOptions(BATCH, version_compatible=True)
    with pytest.raises(EngineError, match=r"built nothing of .*libnvinfer_lean"):
        build_plan(trt, write_relu(tmp_path / "model.onnx"), lean)


def test_the_parser_names_node_type_and_reason(tmp_path: Path, trt: Any) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], name="narrow", to=TensorProto.FLOAT16),
        helper.make_node("Add", ["x", "h"], ["y"], name="mixed"),
    ]
    with pytest.raises(EngineError) as error:
        build_plan(trt, write_relu(tmp_path / "model.onnx", nodes), BuildOptions(BATCH))
    message = str(error.value)
    assert "Add mixed (of x FLOAT, h FLOAT16): INVALID_NODE" in message
    assert "change that node or the type of its inputs" in message
    assert "cudaError" not in message  # which is no reason here


def test_a_reshape_that_fixes_the_batch_is_found_by_the_batch_profile(
    tmp_path: Path, trt: Any
) -> None:
    file = write_relu(
        tmp_path / "model.onnx", [helper.make_node("Reshape", ["x", "sides"], ["y"], name="flat")]
    )
    model = onnx.load(file)
    sides = helper.make_tensor("sides", TensorProto.INT64, [2], [1, 4])
    model.graph.initializer.append(sides)
    onnx.save(model, file)
    with pytest.raises(EngineError, match=r"built nothing of .*flat"):
        build_plan(trt, file, BuildOptions(BATCH))


# --- plans that are none


def test_a_whole_plan_has_no_fault(trt: Any, plan: bytes) -> None:
    assert loading_fault(trt, plan, trusted=False) is None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda plan: plan[:0], "empty"),
        (lambda plan: plan[:40], "readHeader"),
        (lambda plan: plan[: len(plan) // 2], "blobSize"),
        (lambda plan: plan[:-1], "blobSize"),
        (lambda plan: b"x" * len(plan), "magicTag"),
        (lambda plan: b"PK" + plan[2:], "magicTag"),
    ],
    ids=["empty", "cut in its head", "half", "one byte short", "garbage", "another file's head"],
)
def test_a_plan_that_is_none_is_told_from_one_without_a_gpu(
    trt: Any, plan: bytes, damage: Any, words: str
) -> None:
    fault = loading_fault(trt, damage(plan), trusted=False)
    assert fault is not None
    assert words in fault


def test_the_library_tells_its_version(trt: Any) -> None:
    folder = Path(sys.modules["tensorrt_rtx_libs"].__file__ or "").parent
    (library,) = folder.glob("libtensorrt_rtx.so*")
    assert library_version(str(library)) == version_of(trt)


# --- through the command


def command(*arguments: str) -> Any:
    return CliRunner().invoke(engine, list(arguments), catch_exceptions=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Both networks' places, each with one layer."""
    for name in NETWORKS:
        folder = tmp_path / "models" / name / "1"
        folder.mkdir(parents=True)
        write_relu(folder / "model.onnx")
    return tmp_path / "models"


def test_every_network_is_built_into_the_repository(repository: Path) -> None:
    result = command(
        *("--model-repository", str(repository), "--runtime", "rtx"),
        *("--min-batch", "2", "--opt-batch", "3", "--max-batch", "4"),
        *("--compute-capability", "8.9", "--compute-capability", "12.0"),
    )
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) == len(NETWORKS)
    for name in NETWORKS:
        record = read_record(repository / name / "1" / "model.rtx.plan.json")
        assert record.batch == BatchProfile(2, 3, 4)
        assert record.compute_capabilities == ("8.9", "12.0")
        assert (repository / name / "1" / "model.onnx").is_file()


def test_a_plan_is_replaced_whole_and_readable(repository: Path) -> None:
    arguments = ["--model-repository", str(repository), "--runtime", "rtx", "--model", NETWORKS[0]]
    plan = repository / NETWORKS[0] / "1" / "model.rtx.plan"
    plan.write_bytes(b"an older one")
    assert command(*arguments).exit_code == 0
    assert plan.stat().st_size > 1000
    # As readable as any file that is made: the server is another user.
    assert plan.stat().st_mode == (repository / NETWORKS[0] / "1" / "model.onnx").stat().st_mode
    assert [path for path in plan.parent.iterdir() if path.name.startswith(".")] == []


def test_a_refused_graph_leaves_the_earlier_plan(repository: Path) -> None:
    arguments = ["--model-repository", str(repository), "--runtime", "rtx", "--model", NETWORKS[0]]
    assert command(*arguments).exit_code == 0
    folder = repository / NETWORKS[0] / "1"
    before = {path.name: path.read_bytes() for path in folder.glob("model.rtx*")}
    write_relu(folder / "model.onnx", [helper.make_node("Softplus", ["z"], ["y"], name="lost")])
    result = command(*arguments)
    assert result.exit_code == 1
    assert {path.name: path.read_bytes() for path in folder.glob("model.rtx*")} == before


def test_a_machine_s_gpu_stands_in_the_record(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Gpu("NVIDIA L4", "8.9", "580.82.07")
    machine = Machine((gpu,), "13.0", {})
    monkeypatch.setattr("thyroid_export.engine_cli.read_machine", lambda: machine)
    assert command("--model-repository", str(repository), "--runtime", "rtx").exit_code == 0
    record = json.loads((repository / NETWORKS[0] / "1" / "model.rtx.plan.json").read_text())
    assert (record["gpu"], record["driver"], record["cuda"]) == ("NVIDIA L4", "580.82.07", "13.0")
    assert record["compute_capabilities"] == []  # any from 8.0 on, not that GPU's alone


def test_a_missing_network_is_named(repository: Path) -> None:
    shutil.rmtree(repository / NETWORKS[1])
    result = command(
        *("--model-repository", str(repository), "--runtime", "rtx", "--model", NETWORKS[1])
    )
    assert isinstance(result.exception, FileNotFoundError)
    assert "export it with `thyroid-export onnx --run FOLDER`" in str(result.exception)
