"""A forest's run into the repository: what is recorded, what is refused, what stays served."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
from click.testing import CliRunner

from thyroid_export import export_forest
from thyroid_export.cli import main
from thyroid_export.manifest import weights_sha256
from thyroid_export.parity import ParityError, run_onnx
from thyroid_pipeline import contract
from thyroid_training.forest import Forest, ForestConfig, forest_malignancy
from thyroid_training.forest_run import ForestTable, save_forest_run
from thyroid_training.runs import RunError

FILE = "morphology_forest/1/model.onnx"


def run_of(folder: Path, seed: int = 0) -> Forest:
    rng = np.random.default_rng(0)
    table = ForestTable(rng.normal(size=(60, 18)).astype(np.float32), np.arange(60) % 2)
    return save_forest_run(folder, table, ForestConfig(trees=5, seed=seed), {"ddti_graded": 60})


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    run_of(tmp_path / "run")
    return tmp_path / "run"


def command(run_folder: Path, repository: Path) -> tuple[int, str]:
    arguments = ["forest", "--run", str(run_folder), "--model-repository", str(repository)]
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


def test_command_serves_and_records_the_forest(tmp_path: Path) -> None:
    forest, repository = run_of(tmp_path / "run"), tmp_path / "model repository"
    code, output = command(tmp_path / "run", repository)
    assert code == 0, output
    path = repository / FILE
    assert [entry.name for entry in path.parent.iterdir()] == ["model.onnx"]
    rows = np.random.default_rng(1).normal(size=(30, 18)).astype(np.float32)
    found, scores = np.ones((30, 1), np.bool_), np.zeros((30, 1), np.float32)
    answers = run_onnx(path, contract.MORPHOLOGY_FOREST, [rows, found, scores])
    assert np.allclose(
        answers["forest_malignancy"][:, 0], forest_malignancy(forest, rows), rtol=0, atol=1e-5
    )
    entry = json.loads((repository / "manifest.json").read_text())[FILE]
    nodes = sum(tree.tree_.node_count for tree in forest.pipeline[-1].estimators_)
    assert entry["parameter_count"] == nodes
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry["opset"] == 18
    assert entry["versions"]["scikit-learn"] == sklearn.__version__
    assert sorted(entry["versions"]) == ["onnx", "python", "scikit-learn", "skl2onnx"]
    assert entry["source"] == json.loads((tmp_path / "run" / "run.json").read_text())
    (parity,) = entry["parity"]
    assert parity["output"] == "forest_malignancy"
    assert parity["compared"] > 3000
    assert parity["largest_difference"] <= parity["tolerance"] == 1e-5
    lines = output.splitlines()
    assert lines[0] == f"wrote {FILE}: {nodes:,} nodes of trees"
    assert lines[1].startswith("forest_malignancy: largest difference ")
    assert len(lines) == 2


def test_the_same_run_gives_the_same_trees(tmp_path: Path, run_folder: Path) -> None:
    hashes = []
    for name in ("first", "second"):
        export_forest.export_forest_run(run_folder, tmp_path / name)
        hashes.append(weights_sha256(tmp_path / name / FILE))
    assert hashes[0] == hashes[1]
    run_of(run_folder, seed=1)
    export_forest.export_forest_run(run_folder, tmp_path / "first")
    assert weights_sha256(tmp_path / "first" / FILE)[0] != hashes[0][0]


def test_a_file_that_answers_otherwise_is_not_served(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    served = repository / FILE
    served.parent.mkdir(parents=True)
    served.write_bytes(b"what was served before")
    (repository / "manifest.json").write_text('{"before": {}}')

    def other_answer(forest: Forest, inputs: Sequence[Any]) -> dict[str, Any]:
        shifted = right(forest, inputs).items()
        return {name: np.asarray(array, np.float32) + np.float32(1e-4) for name, array in shifted}

    right = export_forest.answer
    monkeypatch.setattr(export_forest, "answer", other_answer)
    with pytest.raises(ParityError, match=r"model\.candidate\.onnx differs from scikit-learn"):
        export_forest.export_forest_run(run_folder, repository)
    assert served.read_bytes() == b"what was served before"
    assert served.with_name("model.candidate.onnx").is_file()
    assert (repository / "manifest.json").read_text() == '{"before": {}}'


def test_command_says_it_without_a_traceback(tmp_path: Path, run_folder: Path) -> None:
    repository = tmp_path / "repository"
    record = json.loads((run_folder / "run.json").read_text())
    (run_folder / "run.json").write_text(json.dumps({**record, "network": "resnet18"}))
    code, output = command(run_folder, repository)
    assert code == 1
    assert output.startswith("Error: ")
    for part in ("'resnet18'", "morphology_forest was wanted", "give the folder of a forest's run"):
        assert part in output
    (run_folder / "run.json").unlink()
    code, output = command(run_folder, repository)
    assert code == 1
    assert output.startswith("Error: ")
    assert "run.json does not exist" in output
    assert not repository.exists()
    (run_folder / "run.json").write_text("{}")
    with pytest.raises(RunError, match="None; morphology_forest was wanted"):
        export_forest.export_forest_run(run_folder, repository)
