"""Whether a server's memory grows: the trend by least squares, the sampler on processes."""

from __future__ import annotations

import asyncio
import math
import socket
import subprocess
import sys

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from thyroid_benchmarks.memory import (
    resident_bytes,
    sample_memory,
    server_pid,
    trend,
)
from thyroid_benchmarks.plots import memory_plot
from thyroid_benchmarks.scenarios import Wish, make_scenario

MB = 1_000_000
TEN_MINUTES = np.arange(0, 600, 1.0)


def noisy(slope_mb_per_hour: float, seed: int = 1) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    held = 500 + slope_mb_per_hour * TEN_MINUTES / 3600 + rng.normal(0, 2, TEN_MINUTES.size)
    return np.asarray(np.rint(held * MB), np.int64)


@pytest.mark.parametrize("slope", [0.0, 30.0, -12.0, 600.0])
def test_the_slope_is_that_of_least_squares_and_within_its_interval(slope: float) -> None:
    sizes = noisy(slope)
    found = trend(TEN_MINUTES.tolist(), sizes.tolist(), 600)
    counted = TEN_MINUTES >= 60
    wanted = np.polyfit(TEN_MINUTES[counted], sizes[counted] / MB, 1)[0] * 3600
    assert found.slope_mb_per_hour.value == pytest.approx(wanted, abs=1.5)
    assert found.slope_mb_per_hour.low is not None
    assert found.slope_mb_per_hour.high is not None
    assert found.slope_mb_per_hour.low < slope < found.slope_mb_per_hour.high


def test_the_interval_holds_what_it_promises() -> None:
    held = 0
    for seed in range(200):
        found = trend(TEN_MINUTES.tolist(), noisy(20.0, seed).tolist(), 600).slope_mb_per_hour
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 20.0 <= found.high
    # 95% of 200 are 190; fewer than 180 would be one chance in a thousand.
    assert held >= 180


def test_what_is_taken_in_the_first_minute_does_not_count() -> None:
    sizes = np.where(TEN_MINUTES < 60, 100 + TEN_MINUTES * 5, 400) * MB
    found = trend(TEN_MINUTES.tolist(), sizes.astype(int).tolist(), 600)
    assert found.growth == pytest.approx(0)
    assert found.slope_mb_per_hour.value == pytest.approx(0, abs=1e-6)


def test_growth_is_the_end_over_the_beginning() -> None:
    sizes = np.where(TEN_MINUTES < 300, 400, 440) * MB
    assert trend(TEN_MINUTES.tolist(), sizes.tolist(), 600).growth == pytest.approx(0.1)


def test_too_few_samples_say_nothing() -> None:
    found = trend([0.0, 1.0], [MB, MB], 600)
    assert math.isnan(found.growth)
    assert found.as_dict()["growth"] is None
    assert found.as_dict()["slope_mb_per_hour"]["value"] is None


def test_children_are_counted() -> None:
    code = "import time; held = bytearray(80_000_000); print('held', flush=True); time.sleep(60)"
    own = resident_bytes(psutil.Process().pid)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"held\n"
            assert resident_bytes(psutil.Process().pid) - own > 70_000_000
        finally:
            child.kill()


def test_the_server_is_found_by_its_port() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert server_pid(f"127.0.0.1:{port}") == psutil.Process().pid
    assert server_pid(f"127.0.0.1:{port}") is None
    assert server_pid("192.0.2.1:8001") is None


async def test_sampling_ends_with_the_process() -> None:
    left = iter([5, 7])

    def read(pid: int) -> int:
        try:
            return next(left)
        except StopIteration:
            raise psutil.NoSuchProcess(pid) from None

    into: list[tuple[float, int]] = []
    # At an interval of a second the third look finds no process, and the sampler returns.
    await asyncio.wait_for(sample_memory(1, 1.0, into, read=read), 60)
    assert [size for _, size in into] == [5, 7]
    assert into[0][0] <= into[1][0]


def test_a_soak_watches_memory_and_nothing_else_does() -> None:
    assert make_scenario("soak", Wish()).watches_memory
    assert not make_scenario("server", Wish()).watches_memory


def test_the_picture_is_drawn_for_runs_that_watched() -> None:
    memory = trend(TEN_MINUTES.tolist(), noisy(5).tolist(), 600).as_dict()
    run = {"scenario": {"name": "soak at 8/s"}, "observed": {"memory": memory}}
    svg = memory_plot([run])
    assert svg is not None
    assert "soak at 8/s" in svg
    assert memory_plot([{"scenario": {"name": "x"}, "observed": {"memory": None}}]) is None
