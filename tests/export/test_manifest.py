"""The manifest: hashes that say what they should, entries that replace each other."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import skl2onnx
import sklearn
import torch
from onnx import helper, numpy_helper

from thyroid_export.manifest import (
    FOREST_MAKERS,
    describe,
    file_sha256,
    read_manifest,
    record,
    weights_sha256,
)
from thyroid_export.parity import Parity

PARITY = Parity("malignancy", 8, 1e-6, 1e-7, 1e-4)


def write(path: Path, parameters: dict[str, Any], nodes: int = 0) -> Path:
    """A file of parameters within a graph of so many nodes."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], [f"y{number}"]) for number in range(nodes)],
        f"graph of {nodes}",
        [],
        [],
        [numpy_helper.from_array(np.asarray(v), f"network.{k}") for k, v in parameters.items()],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph), path)
    return path


A = {"a": np.array([0.5, 2.0], np.float32), "b": np.array([[1.0]], np.float32)}


def test_weights_hash_is_of_names_and_values_alone(tmp_path: Path) -> None:
    first, count = weights_sha256(write(tmp_path / "1.onnx", A))
    assert count == 3
    other_graph = write(tmp_path / "2.onnx", A, nodes=3)
    other_order = write(tmp_path / "3.onnx", dict(reversed(A.items())))
    halves = write(tmp_path / "4.onnx", {k: v.astype(np.float16) for k, v in A.items()})
    for path in (other_graph, other_order, halves):
        assert weights_sha256(path) == (first, 3)
        assert file_sha256(path) != file_sha256(tmp_path / "1.onnx")


@pytest.mark.parametrize(
    "other",
    [
        {**A, "b": np.array([[1.5]], np.float32)},
        {**A, "c": np.array([1.0], np.float32)},
        {"a": A["a"], "c": A["b"]},
    ],
)
def test_other_weights_have_another_hash(tmp_path: Path, other: dict[str, Any]) -> None:
    first = weights_sha256(write(tmp_path / "1.onnx", A))[0]
    assert weights_sha256(write(tmp_path / "2.onnx", other))[0] != first


def test_weights_hash_is_reproducible_by_hand(tmp_path: Path) -> None:
    content = b"network.a" + A["a"].tobytes() + b"network.b" + A["b"].tobytes()
    digest = hashlib.sha256(content).hexdigest()
    assert weights_sha256(write(tmp_path / "1.onnx", A))[0] == digest


def test_entry_says_what_the_file_is(tmp_path: Path) -> None:
    path = write(tmp_path / "resnet18" / "1" / "model.onnx", A)
    artefact = describe(tmp_path, path, {"network": "resnet18", "epoch": 3}, [PARITY])
    record(tmp_path, artefact)
    entry = json.loads((tmp_path / "manifest.json").read_text())["resnet18/1/model.onnx"]
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry["parameter_count"] == 3
    assert entry["opset"] == 18
    assert entry["versions"] == {
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "python": platform.python_version(),
    }
    assert entry["source"] == {"network": "resnet18", "epoch": 3}
    assert entry["parity"] == [
        {
            "output": "malignancy",
            "compared": 8,
            "largest_difference": 1e-6,
            "mean_difference": 1e-7,
            "tolerance": 1e-4,
        }
    ]


def write_trees(path: Path, leaf: float, name: str = "trees", limit: float = 0.5) -> Path:
    """One split, into a leaf of nothing and a leaf of so much."""
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        name=name,
        domain="ai.onnx.ml",
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[limit, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[0.0, leaf],
        n_targets=1,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(helper.make_graph([node], "trees", [], [])), path)
    return path


def test_weights_of_trees_are_their_splits_and_leaves(tmp_path: Path) -> None:
    first, count = weights_sha256(write_trees(tmp_path / "1.onnx", 1.0))
    assert count == 3
    again = write_trees(tmp_path / "2.onnx", 1.0, name="another name")
    assert weights_sha256(again) == (first, 3)
    assert file_sha256(again) != file_sha256(tmp_path / "1.onnx")
    leaf, limit = (
        write_trees(tmp_path / "3.onnx", 2.0),
        write_trees(tmp_path / "4.onnx", 1.0, limit=0.25),
    )
    assert len({first, weights_sha256(leaf)[0], weights_sha256(limit)[0]}) == 3


def test_entry_names_the_packages_that_made_it(tmp_path: Path) -> None:
    path = write_trees(tmp_path / "morphology_forest" / "1" / "model.onnx", 1.0)
    versions = describe(tmp_path, path, {}, [PARITY], FOREST_MAKERS).versions
    assert list(versions) == ["scikit-learn", "skl2onnx", "onnx", "python"]
    assert versions["scikit-learn"] == sklearn.__version__
    assert versions["skl2onnx"] == skl2onnx.__version__


def test_a_new_entry_replaces_the_file_s_earlier_one_and_leaves_others(tmp_path: Path) -> None:
    first = write(tmp_path / "a" / "1" / "model.onnx", A)
    other = write(tmp_path / "b" / "1" / "model.onnx", A)
    assert read_manifest(tmp_path) == {}
    record(tmp_path, describe(tmp_path, other, {"run": 1}, []))
    record(tmp_path, describe(tmp_path, first, {"run": 1}, []))
    before = read_manifest(tmp_path)
    write(first, {**A, "a": np.zeros(2, np.float32)})
    record(tmp_path, describe(tmp_path, first, {"run": 2}, []))
    after = read_manifest(tmp_path)
    assert list(after) == ["a/1/model.onnx", "b/1/model.onnx"]
    assert after["b/1/model.onnx"] == before["b/1/model.onnx"]
    assert after["a/1/model.onnx"]["source"] == {"run": 2}
    assert after["a/1/model.onnx"]["weights_sha256"] != before["a/1/model.onnx"]["weights_sha256"]
