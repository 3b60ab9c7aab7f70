"""A run into the repository: what is recorded, what is refused, and what stays served."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from thyroid_export import export_onnx
from thyroid_export.cli import main
from thyroid_export.export_onnx import export_run, load_graph
from thyroid_export.onnx_graph import ExportError
from thyroid_export.parity import ParityError
from thyroid_pipeline import contract
from thyroid_training.runs import Run, RunError
from thyroid_training.serving import ClassificationGraph


@pytest.fixture
def run_folder(tmp_path: Path, resnet18: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of the ResNet-18 that the session has exported already: that file is taken."""
    folder = tmp_path / "run"
    Run(folder).save(resnet18.served, {"network": "resnet18", "epoch": 7})

    def write_onnx(graph: nn.Module, path: Path) -> contract.Model:
        assert isinstance(graph, ClassificationGraph)
        assert torch.equal(graph.network.fc.weight, resnet18.network.fc.weight)
        assert torch.equal(graph.calibration, resnet18.served.calibration)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(resnet18.path, path)
        return contract.RESNET18

    monkeypatch.setattr(export_onnx, "write_onnx", write_onnx)
    monkeypatch.setattr(export_onnx, "_PARITY_COUNT", 2)
    return folder


def test_a_run_is_served_and_recorded(run_folder: Path, tmp_path: Path, resnet18: Any) -> None:
    repository = tmp_path / "repository"
    artefact = export_run(run_folder, repository)
    served = repository / "resnet18" / "1" / "model.onnx"
    assert served.read_bytes() == resnet18.path.read_bytes()
    assert [path.name for path in served.parent.iterdir()] == ["model.onnx"]
    assert artefact.file == "resnet18/1/model.onnx"
    assert artefact.source["epoch"] == 7
    outputs = [parity.output for parity in artefact.parity]
    assert outputs == ["malignancy", "evidence", "decision"]
    manifest = json.loads((repository / "manifest.json").read_text())
    assert manifest[artefact.file]["sha256"] == artefact.sha256


def test_a_file_that_answers_otherwise_is_not_served(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    served = repository / "resnet18" / "1" / "model.onnx"
    served.parent.mkdir(parents=True)
    served.write_bytes(b"what was served before")
    (repository / "manifest.json").write_text('{"before": {}}')

    def load_other(path: Path, model: contract.Model) -> nn.Module:
        graph = load_graph(path, model)
        with torch.no_grad():
            graph.get_parameter("network.conv1.weight").mul_(2)
        return graph

    monkeypatch.setattr(export_onnx, "load_graph", load_other)
    with pytest.raises(ParityError, match=r"model.candidate.onnx differs from PyTorch"):
        export_run(run_folder, repository)
    assert served.read_bytes() == b"what was served before"
    assert served.with_name("model.candidate.onnx").is_file()
    assert (repository / "manifest.json").read_text() == '{"before": {}}'


@pytest.mark.parametrize("name", ["transunet-huge", "transunet", "unet", ""])
def test_a_run_of_no_network_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    Run(tmp_path).save(nn.Linear(1, 1), {"network": name})
    with pytest.raises(
        ExportError, match=r"`network` is '.*'; resnet18 or transunet-paper\|compact"
    ):
        export_run(tmp_path, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


def test_a_run_with_another_network_s_weights_is_refused(tmp_path: Path) -> None:
    Run(tmp_path).save(nn.Linear(1, 1), {"network": "resnet18"})
    with pytest.raises(RunError, match="does not hold the weights of this Classif"):
        export_run(tmp_path, tmp_path / "repository")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"run.json does not exist"):
        export_run(tmp_path, tmp_path / "repository")
    (tmp_path / "run.json").write_text('{"network": "resnet18"}')
    with pytest.raises(FileNotFoundError, match=r"weights.pt does not exist"):
        export_run(tmp_path, tmp_path / "repository")


def test_command_says_it_without_a_traceback(tmp_path: Path) -> None:
    for arguments in (
        ["onnx", "--run", str(tmp_path)],
        ["parity", "--count", "2"],
    ):
        result = CliRunner().invoke(
            main, [*arguments, "--model-repository", str(tmp_path / "none")]
        )
        assert result.exit_code == 1
        assert result.output.startswith("Error: ")
        assert "does not exist: " in result.output
        assert "Traceback" not in result.output


def test_parity_command_shows_the_figures_of_both_networks(
    tmp_path: Path, compact: Any, resnet18: Any
) -> None:
    for exported in (compact, resnet18):
        folder = tmp_path / exported.model.name / "1"
        folder.mkdir(parents=True)
        shutil.copy(exported.path, folder / "model.onnx")
    arguments = ["parity", "--model-repository", str(tmp_path), "--count", "2", "--seed", "5"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "nodule_probability",
        "ood_score",
        "malignancy",
        "evidence",
        "decision",
    ]
    assert "(at most 1), mean" in lines[0]
    assert f"over {2 * 224 * 224:,} elements" in lines[0]
    # The other way round, neither file holds what its folder's name says.
    shutil.copy(resnet18.path, tmp_path / "transunet" / "1" / "model.onnx")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "has no metadata" in result.output
