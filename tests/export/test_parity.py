"""Parity: its figures on arrays made by hand, and what it will not let pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from thyroid_export.export_onnx import load_graph
from thyroid_export.parity import (
    RELATIVE,
    TOLERANCES,
    Parity,
    ParityError,
    check_parity,
    compare,
)
from thyroid_export.parity_inputs import parity_inputs
from thyroid_pipeline import contract

A = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


def test_figures() -> None:
    (parity,) = compare({"a": A}, {"a": A + np.array([[0, 0.5], [-1, 0]], np.float32)}, {"a": 1.0})
    assert parity == Parity("a", 4, 1.0, 0.375, 1.0)
    assert parity.holds


def test_bytes_do_not_wrap_around() -> None:
    low, high = np.array([0, 7], np.uint8), np.array([255, 6], np.uint8)
    (parity,) = compare({"a": low}, {"a": high}, {"a": 1.0})
    assert (parity.largest_difference, parity.mean_difference) == (255.0, 128.0)
    assert not parity.holds


def test_each_output_has_its_own_figures() -> None:
    figures = compare({"a": A, "b": A}, {"b": A + 2, "a": A}, {"a": 0.0, "b": 1.0})
    assert [(parity.output, parity.holds) for parity in figures] == [("a", True), ("b", False)]


def test_nan_at_the_same_places_is_left_out() -> None:
    wanted, got = A.copy(), A + 1
    wanted[0, 0] = got[0, 0] = np.nan
    (parity,) = compare({"a": wanted}, {"a": got}, {"a": 1.0})
    assert (parity.compared, parity.largest_difference, parity.mean_difference) == (3, 1.0, 1.0)


def test_infinity_never_holds() -> None:
    endless = A.copy()
    endless[0, 0] = np.inf
    with np.errstate(invalid="ignore"):
        (same,) = compare({"a": endless}, {"a": endless}, {"a": 1.0})
    (other,) = compare({"a": A}, {"a": endless}, {"a": 1.0})
    assert not same.holds
    assert not other.holds


@pytest.mark.parametrize(
    ("wanted", "got", "tolerances"),
    [
        ({}, {}, {}),
        ({"a": A}, {}, {"a": 1.0}),
        ({"a": A}, {"b": A}, {"a": 1.0}),
        ({"a": A}, {"a": A, "b": A}, {"a": 1.0}),
        ({"a": A}, {"a": A}, {}),
        ({"a": A}, {"a": A}, {"a": 1.0, "b": 1.0}),
    ],
)
def test_other_names_or_none_are_refused(
    wanted: dict[str, Any], got: dict[str, Any], tolerances: dict[str, float]
) -> None:
    with pytest.raises(ParityError, match="the same names, and at least one, were wanted"):
        compare(wanted, got, tolerances)


@pytest.mark.parametrize(
    ("got", "words"),
    [
        (A[:1], r"is float32 \[1, 2\], float32 \[2, 2\] was wanted"),
        (A.ravel(), r"is float32 \[4\]"),
        (A.astype(np.float64), r"is float64 \[2, 2\], float32"),
        (np.where(A > 3, np.nan, A).astype(np.float32), "has 1 NaN, 0 were wanted"),
    ],
)
def test_another_shape_type_or_nan_is_refused(got: Any, words: str) -> None:
    with pytest.raises(ParityError, match=f"output a {words}"):
        compare({"a": A}, {"a": got}, {"a": 9.0})


@pytest.mark.parametrize("empty", [np.full((2, 2), np.nan), np.empty((0, 7))])
def test_nothing_to_compare_is_refused(empty: Any) -> None:
    with pytest.raises(ParityError, match="has no number to compare"):
        compare({"a": empty}, {"a": empty.copy()}, {"a": 1.0})


def test_an_output_without_an_upper_end_is_compared_by_its_share() -> None:
    wanted = np.array([0.5, 2.0, 50.0], np.float32)
    (parity,) = compare({"ood_score": wanted}, {"ood_score": wanted + 0.1}, {"ood_score": 1e-2})
    assert parity.largest_difference == pytest.approx(0.1)  # below 1 as it is
    assert parity.mean_difference == pytest.approx((0.1 + 0.05 + 0.002) / 3, rel=1e-4)
    (parity,) = compare(
        {"ood_score": wanted[2:]}, {"ood_score": wanted[2:] + 0.4}, {"ood_score": 1e-2}
    )
    assert parity.holds
    (parity,) = compare({"a": wanted[2:]}, {"a": wanted[2:] + 0.4}, {"a": 1e-2})
    assert not parity.holds


def test_a_decision_is_one_or_the_other() -> None:
    wanted = np.array([[1], [3]], np.int32)
    tolerances = {"decision": TOLERANCES["decision"]}
    (same,) = compare({"decision": wanted}, {"decision": wanted.copy()}, tolerances)
    (other,) = compare({"decision": wanted}, {"decision": wanted - 1}, tolerances)
    assert same.holds
    assert not other.holds


def test_every_output_of_an_onnx_file_has_a_tolerance() -> None:
    models = [*contract.NETWORKS, contract.MORPHOLOGY_FOREST]
    assert set(TOLERANCES) == {tensor.name for model in models for tensor in model.outputs}
    assert set(TOLERANCES) > RELATIVE


@pytest.mark.parametrize("model", contract.NETWORKS, ids=lambda model: model.name)
def test_inputs_are_the_contracts_and_the_last_is_no_nodule(model: contract.Model) -> None:
    inputs = parity_inputs(model, 2, seed=0)
    for array, tensor in zip(inputs, model.inputs, strict=True):
        assert array.shape == (2, *tensor.shape)
        assert array.dtype == tensor.data_type.numpy
    assert np.ptp(inputs[0][0].astype(int)) > 50
    assert not np.array_equal(inputs[0][0], inputs[0][1])
    if model == contract.RESNET18:
        assert inputs[1].ravel().tolist() == [True, False]
        assert not inputs[0][1].any()
        assert (np.asarray(inputs[2], np.float32) <= contract.OOD_LIMIT).all()
        scores = np.asarray(parity_inputs(model, 4, seed=0)[2], np.float32).ravel()
        assert (scores > contract.OOD_LIMIT).tolist() == [False, False, True, False]


# --- on exported networks


def test_the_file_answers_as_pytorch_does(exported: Any) -> None:
    inputs = parity_inputs(exported.model, 3, seed=0)
    graph = load_graph(exported.path, exported.model)
    figures = check_parity(graph, exported.path, exported.model, inputs)
    assert [parity.output for parity in figures] == [t.name for t in exported.model.outputs]
    assert all(parity.holds and parity.compared > 0 for parity in figures)
    counts = {
        "nodule_probability": 3 * 224 * 224,
        "ood_score": 3,
        "malignancy": 1,  # the second is out of distribution, the third has no nodule
        "evidence": 3 * 25,
        "decision": 3,
    }
    assert all(parity.compared == counts[parity.output] for parity in figures)


@pytest.mark.parametrize(
    ("name", "parameter", "output"),
    [
        ("compact", "network.encoder.stages.1.0.project.0.weight", "nodule_probability"),
        ("compact", "network.transformer.layers.0.attention.out.bias", "nodule_probability"),
        ("group", "network.encoder.stages.0.0.layers.0.weight", "nodule_probability"),
        ("resnet18", "network.layer2.0.conv1.weight", "evidence"),
        ("resnet18", "network.fc.bias", "malignancy"),
    ],
)
def test_one_weight_changed_is_found(
    request: pytest.FixtureRequest, name: str, parameter: str, output: str
) -> None:
    exported: Any = request.getfixturevalue(name)
    graph = load_graph(exported.path, exported.model)
    with torch.no_grad():
        graph.get_parameter(parameter).view(-1)[0] += 8
    inputs = parity_inputs(exported.model, 2, seed=0)
    with pytest.raises(ParityError, match=f"differs from PyTorch: .*{output} by") as failure:
        check_parity(graph, exported.path, exported.model, inputs)
    assert "allowed" in str(failure.value)
    assert "Do not serve it" in str(failure.value)


def test_only_no_nodule_is_nothing_compared(resnet18: Any) -> None:
    rois, found, scores = parity_inputs(resnet18.model, 2, seed=0)
    graph = load_graph(resnet18.path, resnet18.model)
    with pytest.raises(ParityError, match=r"output malignancy .* at least one nodule"):
        check_parity(graph, resnet18.path, resnet18.model, [rois, np.zeros_like(found), scores])
