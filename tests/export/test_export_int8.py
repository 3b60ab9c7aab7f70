"""ResNet-18 in INT8 through the command: the file, its figures, the gate, and plans of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, numpy_helper

from rtx_wheel import needs_rtx
from thyroid_export import low_precision
from thyroid_export.cli import main
from thyroid_export.export_mixed import export_mixed
from thyroid_export.gate import HALF_GATE, INT8_GATE
from thyroid_export.int8_quantise import Quantised, quantise
from thyroid_export.int8_ranges import range_inputs, range_phantoms
from thyroid_export.low_precision import LOW_PRECISIONS
from thyroid_export.parity import ParityError, run_onnx
from thyroid_export.parity_inputs import parity_inputs, phantom_frames
from thyroid_pipeline import contract
from thyroid_pipeline.plan_manifest import (
    MADE_OF_KEY,
    Runtime,
    file_sha256,
    network_path,
    plan_path,
    read_record,
    record_path,
)

RESNET18 = contract.RESNET18.name
INT8, SYMMETRIC = "int8", "int8-symmetric"


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def symmetric_repository(model_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("symmetric")
    shipped = ("--model-repository", model_repository)
    result = call("onnx", *shipped, "--precision", SYMMETRIC, "--out", out)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(params=[INT8, SYMMETRIC])
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def network(precision: str, request: pytest.FixtureRequest) -> Path:
    """The file of a precision."""
    name = {INT8: "int8_repository", SYMMETRIC: "symmetric_repository"}[precision]
    return network_path(request.getfixturevalue(name), RESNET18)


# --- the file


def test_inputs_and_outputs_are_those_of_the_contract(network: Path) -> None:
    session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    names = {"UINT8": "uint8", "BOOL": "bool", "FP32": "float", "INT32": "int32"}
    for found, wanted in (
        (session.get_inputs(), contract.RESNET18.inputs),
        (session.get_outputs(), contract.RESNET18.outputs),
    ):
        assert [(each.name, each.type, each.shape) for each in found] == [
            (
                tensor.name,
                f"tensor({names[tensor.data_type.value]})",
                ["batch", *tensor.shape],
            )
            for tensor in wanted
        ]


def test_a_batch_answers_as_its_images_do(network: Path) -> None:
    inputs = parity_inputs(contract.RESNET18, 5, seed=40)
    together = run_onnx(network, contract.RESNET18, inputs)
    for row in range(5):
        one = [array[row : row + 1] for array in inputs]
        alone = run_onnx(network, contract.RESNET18, one)
        for name, values in alone.items():
            np.testing.assert_allclose(values[0], together[name][row], atol=1e-5, err_msg=name)


def test_what_is_quantised_is_what_the_precision_says(network: Path, precision: str) -> None:
    model = onnx.load(network)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
    constants = {each.name: each for each in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    weights = [makers.get(node.input[1]) for node in convolutions]
    places = [place for place, node in enumerate(weights) if node is not None]
    first = 0 if precision == INT8 else 1
    assert places == list(range(first, 20))
    assert len(convolutions) == 21
    largest = []
    for node in filter(None, weights):
        values, scales = (numpy_helper.to_array(constants[node.input[at]]) for at in (0, 1))
        assert values.dtype == np.int8
        assert scales.shape == (len(values),)  # one for each channel
        largest.append(int(np.abs(values.astype(int)).max()))
    # Two of 64 times 255 fit into 16 bit, in which older processors add them.
    assert max(largest) in ({63, 64} if precision == INT8 else {127, 128})
    zeros = {
        (constants[node.input[2]].data_type, int(numpy_helper.to_array(constants[node.input[2]])))
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }
    if precision == INT8:
        assert {kind for kind, _ in zeros} == {TensorProto.UINT8}
        assert len(zeros) > 1
    else:
        assert zeros == {(TensorProto.INT8, 0)}
        # In front of convolutions and nowhere else; the residuals take what these take.
        for node in model.graph.node:
            taken = {makers[name].op_type for name in node.input if name in makers}
            if "DequantizeLinear" in taken:
                assert node.op_type in {"Add", "AveragePool", "Conv"}
            if node.op_type == "Relu":
                assert taken <= {"Add", "Conv"}


def test_the_file_and_its_figures_name_what_they_are_of(
    network: Path, precision: str, model_repository: Path
) -> None:
    source = file_sha256(network_path(model_repository, RESNET18))
    model = onnx.load(network)
    assert {each.key: each.value for each in model.metadata_props} == {MADE_OF_KEY: source}
    assert model.producer_name == "thyroid-export"
    report = json.loads((network.parent / "model.onnx.json").read_text())
    assert report["precision"] == precision
    assert report["made_of_sha256"] == source
    assert report["sha256"] == file_sha256(network)
    assert report["convolutions"] == (20 if precision == INT8 else 19)
    assert report["all_convolutions"] == 21
    assert "regions of 32 phantoms" in report["ranges"]
    malignancy, evidence, decision = report["agreement"]
    assert malignancy["wanted"] == "at most 0.03"
    assert 0 < malignancy["worst"] < INT8_GATE.malignancy_within
    assert evidence["wanted"] == decision["wanted"] == ""  # reported, and binding nobody
    assert network.stat().st_size < 0.6 * network_path(model_repository, RESNET18).stat().st_size


def test_ranges_are_of_phantoms_that_nothing_is_judged_by(model_repository: Path) -> None:
    judged = parity_inputs(contract.RESNET18, 8, seed=0)[0]
    frames = range_phantoms(3)
    regions = range_inputs(contract.RESNET18, [frames], model_repository).inputs[0]
    assert 0 < len(regions) <= 3
    assert not any(np.array_equal(one, other) for one in regions for other in judged)
    taken = range_inputs(contract.TRANSUNET, [frames, frames], model_repository).inputs[0]
    assert np.array_equal(taken, np.concatenate([frames.frames] * 2))
    assert not np.array_equal(frames.frames, phantom_frames(3, seed=0).frames)


# --- the gate


def test_each_precision_has_its_gate() -> None:
    gates = {name: each.gate for name, each in LOW_PRECISIONS.items()}
    assert gates == {"fp16": HALF_GATE, "bf16": HALF_GATE, INT8: INT8_GATE, SYMMETRIC: INT8_GATE}


def test_a_range_that_cuts_is_refused(
    model_repository: Path,
    tmp_path: Path,
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def damage(*arguments: Any) -> Quantised:
        made = quantise(*arguments)
        model = onnx.load(made.path)
        cut = [node for node in model.graph.node if node.op_type == "QuantizeLinear"][6]
        for constant in model.graph.initializer:
            if constant.name == cut.input[1]:
                values = numpy_helper.to_array(constant) * np.float32(0.02)
                constant.CopyFrom(numpy_helper.from_array(values, constant.name))
        onnx.save(model, made.path)
        return made

    monkeypatch.setattr(low_precision, "quantise", damage)
    with pytest.raises(ParityError) as error:
        export_mixed(
            model_repository,
            tmp_path,
            contract.RESNET18,
            LOW_PRECISIONS[precision],
            phantom_count=3,
        )
    folder = network_path(tmp_path, RESNET18).parent
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.candidate.onnx",
        "model.candidate.onnx.json",
    ]
    message = str(error.value)
    assert "malignancy on phantoms: mean" in message
    assert "at most 0.03 wanted" in message
    assert "the first node to depart by more than 0.12 is " in message
    assert "take another --precision, or stay with FP32" in message
    report = json.loads((folder / "model.candidate.onnx.json").read_text())
    assert report["refused"] in message
    assert {layer["precision"] for layer in report["layers"]} == {"fp32", "int8"}


def test_the_shipped_transunet_is_refused(model_repository: Path, tmp_path: Path) -> None:
    result = call(
        *("onnx", "--model-repository", model_repository, "--precision", INT8),
        *("--model", contract.TRANSUNET.name, "--out", tmp_path),
    )
    assert result.exit_code == 1
    assert "model.candidate.onnx is not to be served: " in result.output
    assert "at most 0.15 wanted" in result.output
    assert not network_path(tmp_path, contract.TRANSUNET.name).exists()


def test_without_a_transunet_there_are_no_regions(model_repository: Path, tmp_path: Path) -> None:
    shutil.copytree(model_repository / RESNET18, tmp_path / "models" / RESNET18)
    result = call(
        *("onnx", "--model-repository", tmp_path / "models", "--precision", INT8),
        *("--out", tmp_path / "out"),
    )
    assert result.exit_code == 1
    assert "transunet/1/model.onnx does not exist, and it is TransUNet that finds" in result.output


def test_a_transunet_that_finds_nothing_is_said(model_repository: Path) -> None:
    frames = range_phantoms(2)
    blank = type(frames)("blank", np.zeros_like(frames.frames), frames.geometries)
    with pytest.raises(ValueError, match="finds no nodule in any of the 2 frames"):
        range_inputs(contract.RESNET18, [blank], model_repository)


# --- plans


@needs_rtx
def test_a_plan_is_built_of_the_symmetric_file(
    symmetric_repository: Path, model_repository: Path, tmp_path: Path
) -> None:
    result = call(
        *("engine", "--runtime", "rtx", "--model", RESNET18),
        *("--model-repository", symmetric_repository, "--out", tmp_path),
    )
    assert result.exit_code == 0, result.output
    assert "warns" not in result.output
    plan = plan_path(tmp_path, RESNET18, Runtime.RTX)
    record = read_record(record_path(plan))
    assert record.precision == "fp32+int8"
    assert record.made_of_sha256 == file_sha256(network_path(model_repository, RESNET18))
    # Weights of 11.2 million parameters, one byte each: FP32 would be four times that.
    assert plan.stat().st_size < 20_000_000


@needs_rtx
def test_no_plan_is_built_of_the_file_for_a_cpu(int8_repository: Path, tmp_path: Path) -> None:
    result = call(
        *("engine", "--runtime", "rtx", "--model", RESNET18),
        *("--model-repository", int8_repository, "--out", tmp_path),
    )
    assert result.exit_code == 1
    assert "UINT8 with a zero point came, INT8 around zero was wanted" in result.output
    assert "--precision int8-symmetric" in result.output
    assert list(tmp_path.iterdir()) == []
