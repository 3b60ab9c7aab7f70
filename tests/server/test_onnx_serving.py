"""How an instance is loaded in a server, with and without a pool, and what it counts and logs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thyroid_server import onnx_serving
from thyroid_server.core_pool import POOL_VARIABLE, CorePool, CorePoolError, Loan, create_pool
from thyroid_server.onnx_serving import RUNS_METRIC, WAIT_METRIC, RunCounters, load_for_serving
from thyroid_server.request_batches import Job


def family_class(counts: Counter[Any], *, has_metrics: bool) -> Any:
    class Metric:
        def __init__(self, name: str, labels: dict[str, str]) -> None:
            self.key = (name, tuple(sorted(labels.items())))

        def increment(self, value: float) -> None:
            counts[self.key] += value  # type: ignore[assignment]

    class Family:
        COUNTER = object()

        def __init__(self, name: str, description: str, kind: Any) -> None:
            if not has_metrics:
                raise RuntimeError("this server has no metrics")
            assert kind is Family.COUNTER
            assert description
            self.name = name

        def Metric(self, labels: dict[str, str]) -> Metric:  # noqa: N802 (Triton's name)
            return Metric(self.name, labels)

    return Family


class FakeTriton:
    """Triton's module for Python models: its metrics and its log."""

    TritonModelException = RuntimeError

    def __init__(self, *, has_metrics: bool = True) -> None:
        self.counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        self.lines: list[tuple[str, str]] = []
        self.MetricFamily = family_class(self.counts, has_metrics=has_metrics)

    def log_info(self, message: str) -> None:
        self.lines.append(("info", message))

    def log_warn(self, message: str) -> None:
        self.lines.append(("warning", message))


def arguments_of(repository: Path, *, share: str = "1") -> dict[str, str]:
    config = {
        "max_batch_size": 8,
        "input": [{"name": "index", "data_type": "TYPE_INT64", "dims": [1]}],
        "output": [{"name": "value", "data_type": "TYPE_FP32", "dims": [1]}],
        "parameters": {
            "share_cores": {"string_value": share},
            "intra_op_thread_count": {"string_value": "1"},
        },
    }
    return {
        "model_config": json.dumps(config),
        "model_repository": str(repository / "lookup"),
        "model_version": "1",
        "model_name": "lookup",
    }


def screen(model: Any) -> None:
    (result,) = model.run([Job({"index": np.array([[1]], np.int64)}, frozenset())])
    assert result["value"].tolist() == [[11.0]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    create_pool(tmp_path / "pool", 2)
    monkeypatch.setenv(POOL_VARIABLE, str(tmp_path / "pool"))
    return tmp_path / "pool"


def test_runs_are_counted_by_their_threads(repository: Path, folder: Path) -> None:
    triton = FakeTriton()
    model = load_for_serving(arguments_of(repository), RunCounters(triton, "lookup"), triton)
    other = CorePool(folder)
    screen(model)
    with other.borrow((1,)):
        screen(model)
        screen(model)
    other.close()
    runs = {labels: count for (name, labels), count in triton.counts.items() if name == RUNS_METRIC}
    assert runs == {
        (("model", "lookup"), ("threads", "2")): 1,
        (("model", "lookup"), ("threads", "1")): 2,
    }
    assert triton.counts[WAIT_METRIC, (("model", "lookup"),)] > 0
    assert triton.lines == []


def test_a_server_without_metrics_serves_all_the_same(repository: Path, folder: Path) -> None:
    triton = FakeTriton(has_metrics=False)
    screen(load_for_serving(arguments_of(repository), RunCounters(triton, "lookup"), triton))
    assert triton.counts == Counter()


def test_without_a_pool_the_layout_is_fixed_and_the_log_says_so(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(POOL_VARIABLE, raising=False)
    triton = FakeTriton()
    screen(load_for_serving(arguments_of(repository), RunCounters(triton, "lookup"), triton))
    ((level, message),) = triton.lines
    assert level == "info"
    assert "lookup: THYROID_CORE_POOL names no pool" in message
    assert "intra_op_thread_count" in message


def test_a_model_that_does_not_ask_for_cores_takes_none(repository: Path, folder: Path) -> None:
    triton = FakeTriton()
    arguments = arguments_of(repository, share="0")
    model = load_for_serving(arguments, RunCounters(triton, "lookup"), triton)
    other = CorePool(folder)
    with other.borrow((1, 2)):
        screen(model)
    other.close()
    assert triton.counts == Counter()
    assert triton.lines == []


def test_a_pool_that_is_none_is_an_error(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(POOL_VARIABLE, str(tmp_path / "gone"))
    triton = FakeTriton()
    with pytest.raises(CorePoolError, match="gone cannot be used as a pool"):
        load_for_serving(arguments_of(repository), RunCounters(triton, "lookup"), triton)


def test_a_request_without_a_core_is_logged_once() -> None:
    triton = FakeTriton()
    log = onnx_serving._LogOnce(RunCounters(triton, "lookup"), triton, "lookup")
    for loan in (Loan(1, 0.0), Loan(0, 10.1), Loan(0, 10.2)):
        log.note(1, loan)
    ((level, message),) = triton.lines
    assert level == "warning"
    assert "no core free within 10 s" in message
    assert triton.counts[RUNS_METRIC, (("model", "lookup"), ("threads", "1"))] == 3
