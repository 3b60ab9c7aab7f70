"""The forest as a graph: it answers as scikit-learn does, and not at all where it should not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from thyroid_export.export_forest import answer
from thyroid_export.forest_graph import forest_graph
from thyroid_export.parity import ParityError, check_file, run_onnx
from thyroid_export.parity_inputs import forest_inputs
from thyroid_pipeline import contract
from thyroid_training.forest import (
    SHAPE_FIELDS,
    Forest,
    ForestConfig,
    fit_forest,
    forest_malignancy,
)

CONFIG = ForestConfig(trees=8, min_samples_leaf=2)


def fit(seed: int, config: ForestConfig = CONFIG) -> Forest:
    """On noise of figures of very different sizes, one in ten not measured."""
    rng = np.random.default_rng(seed)
    rows = rng.lognormal(size=(60, 18)) * 10.0 ** rng.integers(-4, 6, 18)
    rows[rng.random(rows.shape) < 0.1] = np.nan
    rows[:, config.columns[0]] = rng.random(60)  # a nodule that was found has some figure
    return fit_forest(rows.astype(np.float32), np.arange(60) % 2, config)


def session_of(forest: Forest) -> onnxruntime.InferenceSession:
    content = forest_graph(forest).SerializeToString()
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def ask(session: onnxruntime.InferenceSession, rows: Any, found: Any, scores: Any) -> Any:
    feeds = {
        "morphology": np.asarray(rows, np.float32),
        "nodule_found": np.asarray(found, np.bool_).reshape(-1, 1),
        "ood_score": np.asarray(scores, np.float32).reshape(-1, 1),
    }
    (malignancy,) = session.run(["forest_malignancy"], feeds)
    return malignancy


@pytest.fixture(scope="module")
def forest() -> Forest:
    return fit(0)


@pytest.fixture(scope="module")
def session(forest: Forest) -> onnxruntime.InferenceSession:
    return session_of(forest)


def test_tensors_are_the_contracts(forest: Forest) -> None:
    model = forest_graph(forest)
    onnx.checker.check_model(model, full_check=True)
    assert [
        (
            value.name,
            value.type.tensor_type.elem_type,
            value.type.tensor_type.shape.dim[1].dim_value,
        )
        for value in (*model.graph.input, *model.graph.output)
    ] == [
        ("morphology", TensorProto.FLOAT, 18),
        ("nodule_found", TensorProto.BOOL, 1),
        ("ood_score", TensorProto.FLOAT, 1),
        ("forest_malignancy", TensorProto.FLOAT, 1),
    ]
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_old_runtimes_read_it(forest: Forest) -> None:
    model = forest_graph(forest)
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    assert opsets == {"": 18, "ai.onnx.ml": 3}
    assert len(model.opset_import) == 2
    assert model.ir_version <= 10  # of ONNX Runtime 1.19
    assert {node.domain for node in model.graph.node} == set(opsets)
    trees = [node for node in model.graph.node if node.domain]
    assert [node.op_type for node in trees] == ["Imputer", "TreeEnsembleClassifier"]


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    fields=st.lists(st.sampled_from(contract.MORPHOLOGY_FIELDS), min_size=1, unique=True),
)
def test_it_answers_as_scikit_learn_does(seed: int, fields: list[str]) -> None:
    """On the limits of the splits themselves, where FP32 would fall the other way first."""
    forest = fit(seed, dataclasses.replace(CONFIG, fields=tuple(fields), trees=3))
    inputs = forest_inputs(forest, 500, seed)
    wanted = answer(forest, inputs)["forest_malignancy"]
    got = ask(session_of(forest), *inputs)
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape == (500, 1)
    assert np.array_equal(np.isnan(got), np.isnan(wanted))
    assert np.nanmax(np.abs(got - wanted)) < 1e-5


def test_only_the_fields_are_read() -> None:
    forest = fit(1, dataclasses.replace(CONFIG, fields=SHAPE_FIELDS))
    session = session_of(forest)
    rows = np.random.default_rng(2).lognormal(size=(20, 18)).astype(np.float32)
    changed = rows.copy()
    others = [i for i, name in enumerate(contract.MORPHOLOGY_FIELDS) if name not in SHAPE_FIELDS]
    changed[:, others] = np.nan
    before, after = (ask(session, each, [True] * 20, [0.0] * 20) for each in (rows, changed))
    assert np.array_equal(before, after)
    assert not np.isnan(before).any()


def test_it_is_silent_without_a_nodule_and_out_of_distribution(
    forest: Forest, session: onnxruntime.InferenceSession
) -> None:
    rows = np.ones((6, 18), np.float32)
    rows[5] = np.nan
    found = [True, False, True, True, True, True]
    scores = [1.0, 0.0, np.nextafter(np.float32(1), np.float32(2)), np.inf, np.nan, 0.0]
    assert np.isnan(ask(session, rows, found, scores)).ravel().tolist() == [
        False,
        True,
        True,
        True,
        True,
        True,
    ]


def test_a_missing_figure_counts_as_the_median(
    forest: Forest, session: onnxruntime.InferenceSession
) -> None:
    rows = np.random.default_rng(3).lognormal(size=(50, 18)).astype(np.float32)
    filled = rows.copy()
    medians = forest.pipeline[0].statistics_
    for place, column in enumerate(forest.config.columns):
        rows[column % 50 :: 7, column] = np.nan
        filled[column % 50 :: 7, column] = medians[place]
    asked = [True] * 50, [0.0] * 50
    assert np.array_equal(ask(session, rows, *asked), ask(session, filled, *asked))


@pytest.mark.parametrize("batch", [1, 2, 16, 33])
def test_any_batch_gives_what_each_row_gives_alone(
    session: onnxruntime.InferenceSession, batch: int
) -> None:
    rows = np.random.default_rng(4).lognormal(size=(batch, 18)).astype(np.float32)
    together = ask(session, rows, [True] * batch, [0.0] * batch)
    alone = [ask(session, row[None], [True], [0.0])[0] for row in rows]
    assert together.shape == (batch, 1)
    # One row is summed tree by tree, many are summed in another order.
    assert np.allclose(together, alone, rtol=0, atol=1e-6)


# --- the inputs of the comparison, and what it finds


def test_inputs_lie_at_the_limits_of_the_splits(forest: Forest) -> None:
    rows, found, scores = forest_inputs(forest, 2000, seed=0)
    for array, tensor in zip((rows, found, scores), contract.MORPHOLOGY_FOREST.inputs, strict=True):
        assert array.shape == (2000, *tensor.shape)
        assert array.dtype == tensor.data_type.numpy
    limits = {
        float(np.float32(limit))
        for tree in forest.pipeline[-1].estimators_
        for feature, limit in zip(tree.tree_.feature, tree.tree_.threshold, strict=True)
        if feature == 0
    }
    column = rows[:, forest.config.columns[0]].astype(np.float32)
    values = column[~np.isnan(column)].tolist()
    below, above = (
        {float(np.nextafter(np.float32(limit), np.float32(side))) for limit in limits}
        for side in (-np.inf, np.inf)
    )
    assert set(values) == limits | below | above
    assert 0.02 < np.isnan(rows.astype(np.float32)).mean() < 0.1
    assert 0.02 < (~found.astype(np.bool_)).mean() < 0.1
    assert 0.02 < (scores.astype(np.float32) > contract.OOD_LIMIT).mean() < 0.1
    again = forest_inputs(forest, 2000, seed=0)
    assert all(
        np.array_equal(first, second, equal_nan=first.dtype != np.bool_)
        for first, second in zip((rows, found, scores), again, strict=True)
    )


def test_one_leaf_changed_is_found(forest: Forest, tmp_path: Path) -> None:
    model, path = forest_graph(forest), tmp_path / "model.onnx"
    inputs = forest_inputs(forest, 2000, seed=0)
    wanted = answer(forest, inputs)
    onnx.save(model, path)
    (parity,) = check_file(wanted, path, contract.MORPHOLOGY_FOREST, inputs, "scikit-learn")
    assert parity.holds
    assert 1500 < parity.compared < 2000
    (trees,) = (node for node in model.graph.node if node.op_type == "TreeEnsembleClassifier")
    (weights,) = (entry for entry in trees.attribute if entry.name == "class_weights")
    weights.floats[0] += 0.01
    onnx.save(model, path)
    with pytest.raises(ParityError, match=r"differs from scikit-learn: forest_malignancy by"):
        check_file(wanted, path, contract.MORPHOLOGY_FOREST, inputs, "scikit-learn")


def test_the_reference_is_the_forest_in_fp32(forest: Forest) -> None:
    rows = np.ones((3, 18), np.float32)
    found = np.array([[True], [False], [True]])
    scores = np.array([[0.0], [0.0], [1.5]], np.float32)
    wanted = answer(forest, [rows, found, scores])["forest_malignancy"]
    assert wanted.dtype == np.float32
    assert wanted[0, 0] == np.float32(forest_malignancy(forest, rows[:1])[0])
    assert np.isnan(wanted[1:]).all()


def test_a_file_is_small(tmp_path: Path) -> None:
    """At most 3 MB with the trees that are served, on as many rows as DDTI gives."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(700, 18)).astype(np.float32)
    labels = (rng.random(700) < 0.83).astype(np.int64)
    forest = fit_forest(rows, labels, ForestConfig(trees=30))
    path = tmp_path / "model.onnx"
    onnx.save(forest_graph(forest), path)
    assert path.stat().st_size * ForestConfig().trees / 30 < 3e6
    inputs = forest_inputs(forest, 100, seed=1)
    assert run_onnx(path, contract.MORPHOLOGY_FOREST, inputs)["forest_malignancy"].shape == (100, 1)
