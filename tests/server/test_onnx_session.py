"""Batches of requests through an ONNX file, against ONNX Runtime itself, without Triton."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from thyroid_server.onnx_session import OnnxModel, load_model
from thyroid_server.request_batches import Failure, Job, answer_all

ALL = frozenset[str]()


def config_of(model: str, file: str = "") -> dict[str, Any]:
    """What Triton hands a model of the shared repository."""
    vector = {"data_type": "TYPE_FP32", "dims": [1]}
    tensors = {
        "affine": {
            "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1]}],
            "output": [
                {"name": "y", "data_type": "TYPE_FP32", "dims": [-1]},
                {"name": "s", **vector},
            ],
        },
        "lookup": {
            "input": [{"name": "index", "data_type": "TYPE_INT64", "dims": [1]}],
            "output": [{"name": "value", **vector}],
        },
    }
    return {"max_batch_size": 8, "default_model_filename": file, **tensors[model]}


@pytest.fixture(scope="module")
def affine(repository: Path) -> OnnxModel:
    return OnnxModel(repository / "affine" / "1" / "model.onnx", config_of("affine"))


@pytest.fixture(scope="module")
def lookup(repository: Path) -> OnnxModel:
    return OnnxModel(repository / "lookup" / "1" / "model.onnx", config_of("lookup"))


@pytest.fixture(scope="module")
def reference(repository: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(repository / "affine" / "1" / "model.onnx")


def index_job(*indices: int) -> Job:
    return Job({"index": np.array(indices, np.int64)[:, None]}, ALL)


def tensors(results: list[Any]) -> list[dict[str, NDArray[Any]]]:
    assert not any(isinstance(result, Failure) for result in results), results
    return results


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    length=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_batch_answers_as_onnx_runtime_does_one_by_one(
    affine: OnnxModel,
    reference: onnxruntime.InferenceSession,
    sizes: list[int],
    length: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(size, length)).astype(np.float32) for size in sizes]
    results = tensors(affine.run([Job({"x": array}, ALL) for array in arrays]))
    for array, result in zip(arrays, results, strict=True):
        y, s = reference.run(["y", "s"], {"x": array})
        assert list(result) == ["y", "s"]
        np.testing.assert_array_equal(result["y"], y)
        np.testing.assert_allclose(result["s"], s, rtol=1e-5, atol=1e-5)


def test_several_requests_are_one_run_and_one_request_is_not_copied(
    affine: OnnxModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []

    class Spy:
        def run(self, names: list[str], inputs: dict[str, Any], _options: Any) -> list[Any]:
            runs.append((names, inputs))
            return [inputs["x"][:, :1] if name == "s" else inputs["x"] for name in names]

    monkeypatch.setattr(affine, "_session", Spy())
    first, second = np.ones((1, 2), np.float32), np.zeros((2, 2), np.float32)
    (alone,) = tensors(affine.run([Job({"x": first}, ALL)]))
    assert runs[0][1]["x"] is first
    assert alone["y"] is first
    together = tensors(affine.run([Job({"x": first}, ALL), Job({"x": second}, ALL)]))
    assert len(runs) == 2
    assert together[0]["y"].base is together[1]["y"].base is runs[1][1]["x"]  # views


@pytest.mark.parametrize(
    ("wanted", "computed"),
    [
        ([{"s"}], ["s"]),
        ([{"s"}, {"s"}], ["s"]),
        ([{"s"}, {"y"}], ["y", "s"]),
        ([{"s"}, set()], ["y", "s"]),
    ],
)
def test_only_the_outputs_that_somebody_wants_are_computed(
    affine: OnnxModel,
    wanted: list[set[str]],
    computed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = affine._session
    names: list[list[str]] = []

    class Spy:
        def run(self, asked: list[str], *rest: Any) -> Any:
            names.append(asked)
            return session.run(asked, *rest)

    monkeypatch.setattr(affine, "_session", Spy())
    x = np.ones((1, 3), np.float32)
    results = tensors(affine.run([Job({"x": x}, frozenset(outputs)) for outputs in wanted]))
    assert names == [computed]
    for outputs, result in zip(wanted, results, strict=True):
        assert set(result) == (outputs or {"y", "s"})


def test_of_a_batch_only_the_request_at_fault_is_lost(lookup: OnnxModel) -> None:
    results = lookup.run([index_job(0), index_job(99), index_job(2, 3)])
    assert results[0]["value"].tolist() == [[10.0]]  # type: ignore[index]
    assert results[2]["value"].tolist() == [[12.0], [13.0]]  # type: ignore[index]
    assert isinstance(results[1], Failure)
    assert results[1].is_senders_fault
    assert "idx=99" in results[1].message


def test_a_request_alone_at_fault_is_refused(lookup: OnnxModel) -> None:
    (result,) = lookup.run([index_job(-99)])
    assert isinstance(result, Failure)
    assert result.is_senders_fault


def test_requests_that_cannot_be_stacked_are_answered_one_by_one(affine: OnnxModel) -> None:
    jobs = [Job({"x": np.ones((1, length), np.float32)}, ALL) for length in (2, 5)]
    assert [result["y"].shape for result in tensors(affine.run(jobs))] == [(1, 2), (1, 5)]


def test_nothing_is_stacked_where_the_model_does_not_batch(repository: Path) -> None:
    config = config_of("affine") | {"max_batch_size": 0}
    for kind in ("input", "output"):
        config[kind] = [entry | {"dims": [-1, *entry["dims"]]} for entry in config[kind]]
    model = OnnxModel(repository / "affine" / "1" / "model.onnx", config)
    jobs = [Job({"x": np.ones((rows, 2), np.float32)}, ALL) for rows in (1, 3)]
    assert [result["y"].shape for result in tensors(model.run(jobs))] == [(1, 2), (3, 2)]


def test_a_graph_that_loses_the_batch_is_refused(tmp_path: Path, write_onnx: Any) -> None:
    vector = ["batch", 1]
    file = write_onnx(
        tmp_path / "model.onnx",
        [helper.make_node("Unique", ["x"], ["y"], axis=0)],
        {"x": (TensorProto.FLOAT, vector)},
        {"y": (TensorProto.FLOAT, vector)},
    )
    tensor = {"data_type": "TYPE_FP32", "dims": [1]}
    config = {
        "max_batch_size": 4,
        "input": [{"name": "x", **tensor}],
        "output": [{"name": "y", **tensor}],
    }
    jobs = [Job({"x": np.ones((size, 1), np.float32)}, ALL) for size in (1, 2)]
    one, two = OnnxModel(file, config).run(jobs)
    assert not isinstance(one, Failure)
    assert isinstance(two, Failure)
    assert "the output y has the shape [1, 1] for a batch of 2" in two.message


def answered(model: OnnxModel, requests: list[Any], **changes: Any) -> list[Any]:
    """Answers requests that are jobs, by results that are their values."""
    sides = {
        "read": lambda request: request,
        "respond": lambda outputs: outputs["value"].tolist(),
        "refuse": lambda failure: failure.message,
    }
    return answer_all(model, requests, **(sides | changes))


def test_answers_come_in_the_order_of_the_requests(lookup: OnnxModel) -> None:
    assert answered(lookup, [index_job(3), index_job(0)]) == [[[13.0]], [[10.0]]]
    assert answered(lookup, []) == []


def test_a_request_that_cannot_be_read_is_refused_alone(lookup: OnnxModel) -> None:
    def read(request: Job | None) -> Job:
        if request is None:
            raise RuntimeError("a tensor on a GPU")
        return request

    answers = answered(lookup, [index_job(3), None, index_job(0)], read=read)
    assert answers == [[[13.0]], "RuntimeError: a tensor on a GPU", [[10.0]]]


def test_an_answer_that_cannot_be_written_is_refused_alone(lookup: OnnxModel) -> None:
    def respond(outputs: Any) -> Any:
        if outputs["value"].item() == 13.0:
            raise MemoryError("no shared memory left")
        return outputs["value"].tolist()

    answers = answered(lookup, [index_job(3), index_job(0)], respond=respond)
    assert answers == ["MemoryError: no shared memory left", [[10.0]]]


@pytest.mark.parametrize("file", ["", "model.onnx", "weights.onnx", "folder"])
def test_the_file_is_found_where_triton_wants_it(
    repository: Path, tmp_path: Path, file: str
) -> None:
    version = tmp_path / "lookup" / "7"
    target = {"": "model.onnx", "folder": "folder/model.onnx"}.get(file, file)
    (version / target).parent.mkdir(parents=True)
    (version / target).write_bytes((repository / "lookup" / "1" / "model.onnx").read_bytes())
    model = load_model(
        {
            "model_config": json.dumps(config_of("lookup", file)),
            "model_repository": str(tmp_path / "lookup"),
            "model_version": "7",
        }
    )
    assert answered(model, [index_job(1)]) == [[[11.0]]]
