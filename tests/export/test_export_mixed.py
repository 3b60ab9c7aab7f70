"""The gate of mixed precision: its figures on arrays made by hand, and the files it lets pass."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, numpy_helper
from PIL import Image

from thyroid_export import low_precision
from thyroid_export.cli import main
from thyroid_export.export_mixed import export_mixed
from thyroid_export.gate import HALF_GATE
from thyroid_export.low_precision import LOW_PRECISIONS
from thyroid_export.mixed_parity import ImageSet, judge
from thyroid_export.mixed_precision import Precision, mix_precision
from thyroid_export.parity import ParityError
from thyroid_export.parity_inputs import folder_frames, phantom_frames
from thyroid_pipeline import contract
from thyroid_pipeline.letterbox import Geometry
from thyroid_pipeline.plan_manifest import MADE_OF_KEY, file_sha256

SIDE = contract.MAP_SIDE_PX
PARAMETERS = contract.CropperParameters()
FP16 = LOW_PRECISIONS["fp16"]


@pytest.fixture
def repository(tmp_path: Path, model_repository: Path) -> Path:
    """The shipped classifier and cropper's configs; a copy that a test may damage."""
    folder = tmp_path / "models"
    for name in (contract.RESNET18.name, contract.ROI_CROPPER.name):
        shutil.copytree(model_repository / name, folder / name)
    return folder


# --- figures


def maps_of(*squares: tuple[int, int] | None) -> dict[str, Any]:
    """Answers of the TransUNet: for each image a square of rows and columns from 50 on."""
    maps = np.zeros((len(squares), 1, SIDE, SIDE), np.uint8)
    for row, sides in enumerate(squares):
        if sides is not None:
            maps[row, 0, 50 : 50 + sides[0], 50 : 50 + sides[1]] = 255
    return {
        contract.NODULE_PROBABILITY.name: maps,
        contract.OOD_SCORE.name: np.full((len(squares), 1), 0.5, np.float32),
    }


def judge_maps(wanted: dict[str, Any], got: dict[str, Any]) -> dict[str, Any]:
    count = len(wanted[contract.OOD_SCORE.name])
    # A square image without a border: one pixel of the map is one of the image.
    frame = contract.FRAME_SIDE_PX
    geometry = Geometry.from_array(
        np.array([SIDE, SIDE, 0, 0, SIDE, SIDE, 0, 0, frame, frame], np.int32)
    )
    images = ImageSet("squares", [np.zeros((count, 1))], (geometry,) * count)
    figures = judge(contract.TRANSUNET, images, wanted, got, PARAMETERS, gate=HALF_GATE)
    return {figure.figure: figure for figure in figures}


def test_dice_is_that_of_the_masks() -> None:
    found = judge_maps(maps_of((40, 100), (80, 50), None), maps_of((40, 100), (80, 40), None))
    dice = found["dice"]
    assert (dice.compared, dice.worst_row) == (2, 1)  # without a nodule there is nothing to compare
    assert dice.worst == pytest.approx(2 * 40 / (50 + 40), abs=0.01)
    assert dice.mean == pytest.approx((1 + dice.worst) / 2)
    assert not dice.holds
    assert found["ood_score"].holds


def test_a_nodule_that_only_one_finds_counts_as_nothing() -> None:
    squares = [(40, 40)] * 99
    dice = judge_maps(maps_of(*squares, None), maps_of(*squares, (40, 40)))["dice"]
    assert (dice.mean, dice.worst, dice.worst_row) == (pytest.approx(0.99), 0.0, 99)
    assert not dice.holds


def test_the_mean_decides() -> None:
    squares = [(40, 40)] * 9
    dice = judge_maps(maps_of(*squares, (50, 100)), maps_of(*squares, (50, 98)))["dice"]
    assert dice.worst < 0.995 < dice.mean
    assert dice.holds
    assert "mean at least 0.995 wanted" in dice.describe()


def test_no_nodule_anywhere_is_nothing_compared() -> None:
    with pytest.raises(ParityError, match="no nodule is found in any of the 2 squares"):
        judge_maps(maps_of(None, None), maps_of(None, None))


def test_a_score_that_moves_too_far_is_refused() -> None:
    wanted, got = maps_of((40, 40)), maps_of((40, 40))
    got[contract.OOD_SCORE.name] = wanted[contract.OOD_SCORE.name] + np.float32(0.06)
    assert not judge_maps(wanted, got)["ood_score"].holds


def judge_answers(wanted: list[float], got: list[float]) -> dict[str, Any]:
    def answers(values: list[float]) -> dict[str, Any]:
        count = len(values)
        return {
            "malignancy": np.array(values, np.float32)[:, None],
            "evidence": np.zeros((count, *contract.EVIDENCE.shape), np.float32),
            "decision": np.ones((count, 1), np.int32),
        }

    images = ImageSet("regions", [np.zeros((len(wanted), 1))])
    figures = judge(
        contract.RESNET18, images, answers(wanted), answers(got), PARAMETERS, gate=HALF_GATE
    )
    return {figure.figure: figure for figure in figures}


def test_the_worst_malignancy_decides() -> None:
    inside = judge_answers([0.5, 0.25, np.nan], [0.5, 0.259, np.nan])["malignancy"]
    assert inside.holds
    assert (inside.compared, inside.worst_row) == (2, 1)
    outside = judge_answers([0.5, 0.25, np.nan], [0.511, 0.25, np.nan])["malignancy"]
    assert not outside.holds
    assert outside.worst_row == 0
    with pytest.raises(ParityError, match="has 0 NaN, 1 were wanted"):
        judge_answers([0.5, np.nan], [0.5, 0.5])


# --- files


def test_a_file_and_its_figures_are_written(repository: Path, tmp_path: Path) -> None:
    Image.fromarray(np.asarray(phantom_frames(1, seed=9).frames)[0, 0]).save(tmp_path / "own.png")
    source = repository / "resnet18" / "1" / "model.onnx"
    out = tmp_path / "half"
    figures = export_mixed(repository, out, contract.RESNET18, FP16, phantom_count=3)
    folder = out / "resnet18" / "1"
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "model.onnx.json"]
    metadata = {each.key: each.value for each in onnx.load(folder / "model.onnx").metadata_props}
    assert metadata[MADE_OF_KEY] == file_sha256(source)
    report = json.loads((folder / "model.onnx.json").read_text())
    assert report["precision"] == "fp16"
    assert report["made_of_sha256"] == file_sha256(source)
    assert report["sha256"] == file_sha256(folder / "model.onnx")
    assert [each["figure"] for each in report["agreement"]] == [each.figure for each in figures]
    assert figures[0].figure == "malignancy"
    assert 0 < figures[0].worst < 0.01


def test_a_file_that_answers_otherwise_stays_a_candidate_with_a_report_of_its_layers(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damage(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
        mixed = mix_precision(model, precision)
        conv = [node for node in mixed.graph.node if node.op_type == "Conv"][4]
        for constant in mixed.graph.initializer:
            if constant.name == conv.input[1]:
                values = numpy_helper.to_array(constant) * np.float16(-30)
                constant.CopyFrom(numpy_helper.from_array(values, constant.name))
                damaged.append(conv.name)
        return mixed

    damaged: list[str] = []
    monkeypatch.setattr(low_precision, "mix_precision", damage)
    out = tmp_path / "half"
    with pytest.raises(ParityError) as error:
        export_mixed(repository, out, contract.RESNET18, FP16, phantom_count=3)
    folder = out / "resnet18" / "1"
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.candidate.onnx",
        "model.candidate.onnx.json",
    ]
    message = str(error.value)
    assert "malignancy on phantoms: mean" in message
    assert "at most 0.01 wanted" in message
    assert f"is Conv {damaged[0]} (fp16): relative error" in message
    report = json.loads((folder / "model.candidate.onnx.json").read_text())
    assert report["refused"] in message
    layers = report["layers"]
    departed = next(i for i, layer in enumerate(layers) if layer["relative_error"] > 0.1)
    assert layers[departed]["node"] == f"Conv {damaged[0]}"
    assert all(layer["relative_error"] < 0.01 for layer in layers[:departed])
    assert departed > 4
    assert {layer["precision"] for layer in layers} == {"fp32", "fp16"}


def test_the_repository_itself_keeps_its_fp32_file(repository: Path) -> None:
    source = repository / "resnet18" / "1" / "model.onnx"
    before = source.read_bytes()
    with pytest.raises(ValueError, match="whose ONNX files stay FP32"):
        export_mixed(repository, repository, contract.RESNET18, FP16)
    assert source.read_bytes() == before
    kinds = {each.data_type for each in onnx.load(source).graph.initializer}
    assert TensorProto.FLOAT16 in kinds  # stored so, and no less FP32 in its arithmetic


# --- images of one's own


def test_frames_of_a_folder(tmp_path: Path) -> None:
    frames = phantom_frames(3, seed=0).frames
    for row, frame in enumerate(frames):
        Image.fromarray(frame[0]).save(tmp_path / f"{row}.png")
    (tmp_path / "manifest.csv").write_text("id\n")
    found = folder_frames(tmp_path)
    assert found.frames.shape == (3, *contract.FRAME.shape)
    assert len(found.geometries) == 3
    assert found.source == tmp_path.name
    limited = folder_frames(tmp_path, 2)
    assert np.array_equal(limited.frames, found.frames[[0, 1]])
    inner = tmp_path / "set"
    (inner / "images").mkdir(parents=True)
    (inner / "masks").mkdir()
    shutil.copy(tmp_path / "2.png", inner / "images" / "2.PNG")
    shutil.copy(tmp_path / "0.png", inner / "masks" / "0.png")
    assert np.array_equal(folder_frames(inner).frames, found.frames[2:])


def test_a_folder_without_images_or_with_a_broken_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no image; files ending in \.bmp, \.jpeg"):
        folder_frames(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"broken\.png: .*; take it out of the folder"):
        folder_frames(tmp_path)


# --- the command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--precision", "fp16"], "--out is missing"),
        (["--precision", "fp16", "--out", "half", "--run", "."], "--run has no meaning with"),
        (["--out", "half", "--run", "."], "--out has no meaning with --precision fp32"),
        (["--model", "resnet18", "--run", "."], "--model has no meaning with --precision fp32"),
        (["--precision", "int4"], "'int4' is not one of 'fp32', 'fp16', 'bf16', 'int8', "),
        (["--precision", "int8"], "--out is missing"),
        ([], "--run is missing"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(main, ["onnx", *arguments])
    assert result.exit_code == 2
    assert words in result.output


def test_a_missing_network_is_said_without_a_traceback(tmp_path: Path) -> None:
    arguments = ["--precision", "fp16", "--out", str(tmp_path / "half"), "--model", "transunet"]
    result = CliRunner().invoke(
        main, ["onnx", *arguments, "--model-repository", str(tmp_path / "none")]
    )
    assert result.exit_code == 1
    assert "transunet/1/model.onnx does not exist: export it" in result.output
