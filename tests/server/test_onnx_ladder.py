"""A file in several sessions: each run on as many threads as it is lent cores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from thyroid_server.core_pool import CorePool, Loan, create_pool
from thyroid_server.onnx_ladder import LadderSession, rungs
from thyroid_server.onnx_session import OnnxModel
from thyroid_server.request_batches import Failure, Job

VECTOR = {"data_type": "TYPE_FP32", "dims": [1]}
CONFIG: dict[str, Any] = {
    "max_batch_size": 8,
    "input": [{"name": "index", "data_type": "TYPE_INT64", "dims": [1]}],
    "output": [{"name": "value", **VECTOR}],
    # Of a server without a pool.
    "parameters": {"intra_op_thread_count": {"string_value": "7"}},
}


class Notes:
    def __init__(self) -> None:
        self.all: list[tuple[int, int]] = []

    def note(self, threads: int, loan: Loan) -> None:
        self.all.append((threads, loan.cores))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_pool(tmp_path / "pool", 3)
    return tmp_path / "pool"


@pytest.fixture
def pool(folder: Path) -> Iterator[CorePool]:
    pool = CorePool(folder)
    yield pool
    pool.close()


@pytest.fixture
def other(folder: Path) -> Iterator[CorePool]:
    """Somebody else's access to the same cores."""
    pool = CorePool(folder)
    yield pool
    pool.close()


@pytest.fixture
def file(repository: Path) -> Path:
    return repository / "lookup" / "1" / "model.onnx"


@pytest.mark.parametrize(
    ("cores", "threads"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (3, (1, 2, 3)),
        (4, (1, 2, 4)),
        (6, (1, 2, 4, 6)),
        (8, (1, 2, 4, 8)),
        (64, (1, 2, 4, 8)),
    ],
)
def test_rungs(cores: int, threads: tuple[int, ...]) -> None:
    assert rungs(cores) == threads


def test_each_session_has_the_threads_of_its_rung(
    file: Path, pool: CorePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = onnxruntime.InferenceSession

    def spy(path: str, options: Any, **rest: Any) -> Any:
        spinning = options.get_session_config_entry("session.intra_op.allow_spinning")
        made.append((options.intra_op_num_threads, spinning))
        return real(path, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    LadderSession(file, CONFIG, pool, Notes())
    assert made == [(1, "0"), (2, "0"), (3, "0")]


@pytest.mark.parametrize(("taken", "threads"), [(0, 3), (1, 2), (2, 1)])
def test_a_run_takes_what_is_free_and_answers_alike(
    file: Path, pool: CorePool, other: CorePool, taken: int, threads: int
) -> None:
    notes = Notes()
    session = LadderSession(file, CONFIG, pool, notes)
    used: list[int] = []
    for number, real in session._sessions.items():
        session._sessions[number] = _Spy(real, used, number)
    index = {"index": np.array([[2], [0]], np.int64)}
    if taken:
        with other.borrow((1, taken)):
            (value,) = session.run(["value"], index, None)
    else:
        (value,) = session.run(["value"], index, None)
    assert value.tolist() == [[12.0], [10.0]]
    assert used == [threads]
    assert notes.all == [(threads, threads)]
    with other.borrow((1, 2, 3)) as loan:
        assert loan.cores == 3


class _Spy:
    def __init__(self, real: Any, used: list[int], threads: int) -> None:
        self.real, self.used, self.threads = real, used, threads

    def run(self, *arguments: Any) -> Any:
        self.used.append(self.threads)
        return self.real.run(*arguments)


def test_a_failed_run_gives_its_cores_back(file: Path, pool: CorePool, other: CorePool) -> None:
    notes = Notes()
    model = OnnxModel(file, CONFIG, lambda path, config: LadderSession(path, config, pool, notes))
    (result,) = model.run([Job({"index": np.array([[99]], np.int64)}, frozenset())])
    assert isinstance(result, Failure)
    assert result.is_senders_fault
    assert notes.all == []
    with other.borrow((1, 2, 3)) as loan:
        assert loan.cores == 3


def test_without_a_core_in_time_it_runs_on_one_thread(
    file: Path, pool: CorePool, other: CorePool
) -> None:
    notes = Notes()
    session = LadderSession(file, CONFIG, pool, notes, patience_s=0.01)
    with other.borrow((1, 3)):
        (value,) = session.run(["value"], {"index": np.array([[3]], np.int64)}, None)
    assert value.tolist() == [[13.0]]
    assert notes.all == [(1, 0)]
