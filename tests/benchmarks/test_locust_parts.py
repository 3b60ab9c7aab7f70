"""What Locust's users and shapes are made of, without Locust: its import patches this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thyroid_benchmarks.exact_latencies import ExactLatencies
from thyroid_benchmarks.user_shapes import Shape, users_at


@given(
    shape=st.sampled_from(["step", "spike", "soak"]),
    share=st.floats(0, 1, exclude_max=True),
    users=st.integers(1, 100),
)
def test_a_shape_keeps_within_its_users(shape: Shape, share: float, users: int) -> None:
    wanted = users_at(shape, share, users)
    assert wanted is not None
    assert 1 <= wanted <= users
    assert users_at(shape, 1.0, users) is None


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [("step", [2, 4, 6, 8, 10]), ("spike", [2, 2, 10, 2, 2]), ("soak", [10] * 5)],
)
def test_shapes_over_time(shape: Shape, wanted: list[int]) -> None:
    assert [users_at(shape, share, 10) for share in (0.0, 0.25, 0.45, 0.65, 0.99)] == wanted


def test_latencies_of_workers_come_together_exactly(tmp_path: Path) -> None:
    master, workers = ExactLatencies(), [ExactLatencies(), ExactLatencies()]
    for number, worker in enumerate(workers):
        for latency_us in (3_432_107, 120_001 + number):
            worker.add("nodule", latency_us)
    for worker in workers * 2:  # what was handed over once is not handed over again
        data: dict[str, Any] = {}
        worker.hand_over(data)
        master.take(json.loads(json.dumps(data)))
    path = tmp_path / "exact.json"
    master.write(path)
    written = json.loads(path.read_text())
    assert sorted(written["latencies_us"]["nodule"]) == [120_001, 120_002, 3_432_107, 3_432_107]
    figures = written["summary"]["nodule"]
    assert figures["count"] == 4
    assert figures["latency_ms"]["95"]["value"] == 3432.107
    assert "3432.11" in master.table()
    master.clear()
    assert master.summary() == {}
