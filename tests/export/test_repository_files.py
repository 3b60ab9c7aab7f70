"""The model repository: written from the contract, checked against it, and what is committed."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from google.protobuf import text_format
from onnx import TensorProto
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from thyroid_export.cli import main
from thyroid_export.repository import find_drift, generated_files, write_repository
from thyroid_pipeline import contract

COMMITTED = Path(__file__).resolve().parents[2] / "model_repository"
CONFIGS = sorted(COMMITTED.glob("*/config.pbtxt")) + sorted(COMMITTED.glob("*/configs/*.pbtxt"))
ONNX_TYPES = {
    "TYPE_UINT8": TensorProto.UINT8,
    "TYPE_FP32": TensorProto.FLOAT,
    "TYPE_BOOL": TensorProto.BOOL,
    "TYPE_INT32": TensorProto.INT32,
}


def read_config(path: Path) -> ModelConfig:
    return text_format.Parse(path.read_text(), ModelConfig())


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "model repository"
    write_repository(folder)
    return folder


def check(repository: Path) -> tuple[int, str]:
    arguments = ["repository", "--check", "--model-repository", str(repository)]
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


def test_what_is_written_does_not_drift(repository: Path) -> None:
    assert find_drift(repository) == ""
    assert check(repository) == (0, f"{repository} agrees with the contract\n")
    names = {
        path.relative_to(repository).as_posix() for path in repository.rglob("*") if path.is_file()
    }
    assert names == set(generated_files()) == set(write_repository(repository))
    for model in contract.MODELS:  # Triton wants the version's folder of an ensemble, too
        assert (repository / model.name / "1").is_dir()
        assert (repository / model.name / "config.pbtxt").is_file()
        assert (repository / model.name / "configs" / "cpu.pbtxt").is_file()


def test_command_writes(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    result = CliRunner().invoke(main, ["repository", "--model-repository", str(folder)])
    assert result.exit_code == 0
    assert result.output == f"wrote {len(generated_files())} files into {folder}\n"
    assert find_drift(folder) == ""


def test_a_changed_digit_is_shown(repository: Path) -> None:
    path = repository / "transunet" / "configs" / "cpu.pbtxt"
    text = path.read_text()
    assert "dims: 448" in text
    path.write_text(text.replace("dims: 448", "dims: 449", 1))
    code, output = check(repository)
    assert code == 1
    lines = output.splitlines()
    assert "--- transunet/configs/cpu.pbtxt (there)" in lines
    assert "+++ transunet/configs/cpu.pbtxt (contract)" in lines
    assert [line for line in lines if line[0] in "+-" and line[:3] not in ("---", "+++")] == [
        "-  dims: 449",
        "+  dims: 448",
    ]
    assert "Error:" in lines[-1]
    assert "run `thyroid-export repository`" in lines[-1]
    assert path.read_text() != text, "a check writes nothing"


def test_a_missing_file_is_named(repository: Path) -> None:
    (repository / "resnet18" / "config.pbtxt").unlink()
    (repository / "thyroid_screening" / "1" / ".gitkeep").unlink()
    code, output = check(repository)
    assert code == 1
    assert "resnet18/config.pbtxt is missing\n" in output
    assert "thyroid_screening/1/.gitkeep is missing\n" in output


def test_a_changed_warm_up_is_named_without_its_bytes(repository: Path) -> None:
    path = repository / "roi_cropper" / "warmup" / "geometry"
    path.write_bytes(bytes(36))
    assert find_drift(repository) == (
        "roi_cropper/warmup/geometry differs: 36 bytes are there, 40 others are wanted\n"
    )


@pytest.mark.parametrize(
    ("stray", "words"),
    [
        ("resnet18/configs/old.pbtxt", "resnet18/configs/old.pbtxt is there, but nothing writes"),
        ("resnet18/warmup/roi", "resnet18/warmup/roi is there, but nothing writes it"),
        ("notes/readme.txt", "notes/ is no model of the contract, and Triton takes it for one"),
    ],
)
def test_what_nothing_writes_any_more_is_named(repository: Path, stray: str, words: str) -> None:
    path = repository / stray
    path.parent.mkdir(exist_ok=True)
    path.write_text("left over")
    code, output = check(repository)
    assert code == 1
    assert words in output


def test_networks_and_manifest_are_no_drift(repository: Path) -> None:
    (repository / "transunet" / "1" / "model.onnx").write_bytes(b"a network")
    (repository / "transunet" / "1" / "model.plan").write_bytes(b"a plan")
    (repository / "manifest.json").write_text("{}")
    assert find_drift(repository) == ""


def test_a_repository_that_is_not_there_lacks_everything(tmp_path: Path) -> None:
    code, output = check(tmp_path / "none")
    assert code == 1
    assert output.count(" is missing\n") == len(generated_files())


# --- the committed repository


def test_committed_repository_has_no_drift() -> None:
    assert find_drift(COMMITTED) == ""


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(COMMITTED)))
def test_python_models_are_there_for_python_configs(path: Path) -> None:
    config = read_config(path)
    folder = COMMITTED / config.name
    assert path.is_relative_to(folder)
    assert (folder / "1" / "model.py").is_file() == (config.backend == "python")


def test_only_models_stand_in_it() -> None:
    folders = {path.name for path in COMMITTED.iterdir() if path.is_dir()}
    assert folders == {model.name for model in contract.MODELS}


@pytest.mark.parametrize(
    "model", [*contract.NETWORKS, contract.MORPHOLOGY_FOREST], ids=lambda model: model.name
)
def test_configs_agree_with_the_shipped_graphs(model: contract.Model) -> None:
    file = COMMITTED / model.name / "1" / "model.onnx"
    graph = onnx.load(file).graph
    for name in ("config.pbtxt", "configs/cpu.pbtxt", "configs/rtx.pbtxt"):
        config = read_config(COMMITTED / model.name / name)
        for entries, values in ((config.input, graph.input), (config.output, graph.output)):
            assert [entry.name for entry in entries] == [value.name for value in values]
            for entry, value in zip(entries, values, strict=True):
                kind = value.type.tensor_type
                assert ONNX_TYPES[DataType.Name(entry.data_type)] == kind.elem_type
                sides = [side.dim_value for side in kind.shape.dim]
                assert sides == [0, *entry.dims]  # 0: the batch axis is dynamic
