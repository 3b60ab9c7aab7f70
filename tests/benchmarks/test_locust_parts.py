"""What Locust's users and shapes are made of, without Locust: its import patches this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thyroid_benchmarks.exact_latencies import ExactLatencies
from thyroid_benchmarks.pool import Shares, write_pool
from thyroid_benchmarks.user_orders import order_seed
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


def test_every_user_has_an_order_of_its_own() -> None:
    seeds = [order_seed(worker, user) for worker in range(8) for user in range(1000)]
    assert len(set(seeds)) == len(seeds)
    assert all(seed >= 0 for seed in seeds)


# Two users each of a process alone and of two workers, as Locust makes them; prints their images.
USERS = """
import itertools, json, sys
from pathlib import Path
from types import SimpleNamespace
from thyroid_benchmarks import locust_user as module

def images(runner):
    module._load_images(SimpleNamespace(
        runner=runner,
        parsed_options=SimpleNamespace(pool=sys.argv[1], check="form"),
        stop_timeout=0.0))
    users = [module.ThyroidUser(SimpleNamespace(runner=runner, host="grpc://localhost:1"))
             for _ in range(2)]
    for user in users:
        user.host = "grpc://localhost:1"
        user.on_start()
        user.on_stop()
    return [list(itertools.islice(user.images, 12)) for user in users]

def worker(index):
    runner = object.__new__(module.WorkerRunner)
    runner.worker_index = index
    return runner

print(json.dumps([images(runner) for runner in (None, None, worker(0), worker(1))]))
"""


def test_workers_do_not_send_the_same_images_in_the_same_order(
    tmp_path: Path, checkout: Path
) -> None:
    write_pool(tmp_path, 12, seed=11, shares=Shares(no_nodule=0.25, corrupt=0.25))
    done = subprocess.run(
        [sys.executable, "-c", USERS, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(checkout / "benchmarks")},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    alone, again, first, second = json.loads(done.stdout.splitlines()[-1])
    assert alone == again == first
    orders = [tuple(images) for images in (*first, *second)]
    assert len(set(orders)) == 4
    assert all(sorted(images) == list(range(12)) for images in orders)


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
