"""The networks that the repository ships: what the manifest says of them is so."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from thyroid_export.export_onnx import check_repository
from thyroid_export.manifest import weights_sha256
from thyroid_export.parity import run_onnx
from thyroid_export.parity_inputs import parity_inputs
from thyroid_pipeline import contract
from thyroid_training.checkpoint import load_segmentation_graph
from thyroid_training.transunet_config import COMPACT

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"
NETWORKS = [f"{model.name}/1/model.onnx" for model in contract.NETWORKS]
FOREST = f"{contract.MORPHOLOGY_FOREST.name}/1/model.onnx"
FILES = [*NETWORKS, FOREST]


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    entries: dict[str, Any] = json.loads((REPOSITORY / "manifest.json").read_text())
    return entries


@pytest.mark.parametrize("file", FILES)
def test_hashes_are_those_of_the_files(manifest: dict[str, Any], file: str) -> None:
    entry, path = manifest[file], REPOSITORY / file
    assert entry["file"] == file
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (entry["weights_sha256"], entry["parameter_count"]) == weights_sha256(path)


def test_manifest_names_the_networks_and_nothing_else(manifest: dict[str, Any]) -> None:
    assert sorted(manifest) == sorted(FILES)
    assert manifest[FILES[0]]["source"]["network"] == "transunet-compact"
    assert manifest[FILES[1]]["source"]["network"] == "resnet18"
    assert manifest[FOREST]["source"]["network"] == "morphology_forest"
    for entry in manifest.values():
        assert entry["opset"] == 18
        assert entry["parity"]
        for parity in entry["parity"]:
            assert parity["compared"] > 0
            assert parity["largest_difference"] <= parity["tolerance"]


def test_manifest_names_no_place_of_the_machine_that_trained(manifest: dict[str, Any]) -> None:
    text = json.dumps(manifest)
    assert str(REPOSITORY.parent) not in text
    assert re.search(r'[" ]/\w', text) is None  # no absolute path


def test_files_answer_as_pytorch_does() -> None:
    figures = check_repository(REPOSITORY, count=2, seed=77)
    assert [parity.output for parity in figures] == [
        "nodule_probability",
        "ood_score",
        "malignancy",
        "evidence",
        "decision",
    ]
    assert all(parity.holds and parity.compared > 0 for parity in figures)


@pytest.mark.parametrize("file", NETWORKS)
def test_bytes_enter_by_a_cast(file: str) -> None:
    """TensorRT takes UINT8 into nothing else; a file of an earlier export may differ."""
    graph = onnx.load(REPOSITORY / file).graph
    of_bytes = {
        value.name
        for value in graph.input
        if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    }
    assert of_bytes
    assert {node.op_type for node in graph.node if of_bytes & set(node.input)} == {"Cast"}


def test_compact_size_is_shipped() -> None:
    assert load_segmentation_graph(REPOSITORY / FILES[0]).network.config == COMPACT


def test_the_forest_is_small_and_answers() -> None:
    path = REPOSITORY / FOREST
    assert path.stat().st_size < 3e6
    rows = np.random.default_rng(0).lognormal(size=(50, 18)).astype(np.float32)
    found, scores = np.ones((50, 1), np.bool_), np.zeros((50, 1), np.float32)
    found[0], scores[1] = False, 2 * contract.OOD_LIMIT
    inputs = [rows, found, scores]
    answers = run_onnx(path, contract.MORPHOLOGY_FOREST, inputs)["forest_malignancy"].astype(float)
    assert np.isnan(answers).ravel().tolist() == [True, True, *([False] * 48)]
    assert ((answers[2:] >= 0) & (answers[2:] <= 1)).all()
    assert np.ptp(answers[2:]) > 0.1


def test_it_finds_something_on_phantoms() -> None:
    """Trained weights know tissue from nodule; fresh ones say the same of every pixel."""
    (frames,) = parity_inputs(contract.TRANSUNET, 4, seed=300)
    session = onnxruntime.InferenceSession(
        str(REPOSITORY / FILES[0]), providers=["CPUExecutionProvider"]
    )
    (maps,) = session.run([contract.NODULE_PROBABILITY.name], {contract.FRAME.name: frames})
    assert maps.max() > 200
    assert np.median(maps) < 50
