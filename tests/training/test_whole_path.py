"""From a folder of images to figures of what is served: every command, one after the other."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest
import torch
from click.testing import CliRunner

from thyroid_export import export_onnx
from thyroid_export.cli import main as export
from thyroid_pipeline import contract
from thyroid_training import recipes
from thyroid_training.cli import main as train
from thyroid_training.transunet_config import SIZES, TransUNetConfig


def run(command: object, *arguments: object) -> str:
    result = CliRunner().invoke(
        command,  # type: ignore[arg-type]
        [str(argument) for argument in arguments],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    return result.output


def test_fit_export_and_judge(
    ddti_folder: Path,
    tmp_path: Path,
    tiny_config: TransUNetConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SIZES, "compact", tiny_config)
    monkeypatch.setattr(recipes, "_JUDGED_PHANTOMS", 2)
    monkeypatch.setattr(export_onnx, "_PARITY_COUNT", 2)
    threads = torch.get_num_threads()
    data = ("--data", ddti_folder, "--threads", threads)
    repository = tmp_path / "model repository"
    first, second = tmp_path / "segmentation", tmp_path / "classification"

    run(train, "segmentation", *data, "--out", first, "--epochs", 1, "--phantoms", 4)
    record = json.loads((first / "run.json").read_text())
    assert record["network"] == "transunet-compact"
    assert record["epoch"] == 1
    assert record["data"]["phantoms"] == 4
    assert 14 <= record["data"]["ddti"] <= 18  # of 20, less a fold
    assert 0 <= record["held_out_dice_on_grid"] <= 1

    further = tmp_path / "segmentation, gone on"
    more = ("--epochs", 1, "--phantoms", 4, "--learning-rate", 1e-9, "--initial", first)
    run(train, "segmentation", *data, "--out", further, *more)
    weights, moved = (
        torch.load(folder / "weights.pt", weights_only=True) for folder in (first, further)
    )
    # So small a step leaves them where they were: it went on from them.
    assert torch.allclose(weights["head.weight"], moved["head.weight"], atol=1e-6)

    answer = run(export, "onnx", "--run", first, "--model-repository", repository)
    segmentation = repository / "transunet" / "1" / "model.onnx"
    assert "wrote transunet/1/model.onnx" in answer
    assert "nodule_probability: largest difference" in answer

    cut_by = ("--segmentation", segmentation)
    run(train, "classification", *data, "--out", second, "--epochs", 1, *cut_by)
    record = json.loads((second / "run.json").read_text())
    assert record["network"] == "resnet18"
    assert 0 <= record["held_out_auroc"] <= 1

    answer = run(export, "onnx", "--run", second, "--model-repository", repository)
    assert "malignancy: largest difference" in answer
    manifest = json.loads((repository / "manifest.json").read_text())
    assert sorted(manifest) == ["resnet18/1/model.onnx", "transunet/1/model.onnx"]
    assert manifest["resnet18/1/model.onnx"]["source"] == record

    run(export, "repository", "--model-repository", repository)
    for model in contract.NETWORKS:
        file = repository / model.name / contract.MODEL_VERSION / contract.ONNX_FILE
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        assert [node.name for node in session.get_inputs()] == [t.name for t in model.inputs]

    out = tmp_path / "figures" / "figures.json"
    shown = run(train, "evaluate", *data, "--out", out, "--model-repository", repository)
    figures = json.loads(out.read_text())
    assert json.loads(shown[shown.index("{") :]) == figures
    assert figures["ddti_segmentation"]["images"] == 20 - manifest_ddti(manifest)
    assert figures["phantom_segmentation"]["images"] == 2
    assert 0 <= figures["ddti_classification"]["auroc"] <= 1
    assert figures["phantom_no_nodule_silent_share"] in (0.0, 0.5, 1.0)


def manifest_ddti(manifest: dict[str, dict[str, dict[str, dict[str, int]]]]) -> int:
    """How many images of the set the segmentation was fitted on."""
    return manifest["transunet/1/model.onnx"]["source"]["data"]["ddti"]
