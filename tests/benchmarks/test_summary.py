"""Figures of records that are written by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from thyroid_benchmarks.generator import Record
from thyroid_benchmarks.scenarios import ClosedLoop, MultiStream, Offline, OpenLoop, Scenario
from thyroid_benchmarks.schedule import steady
from thyroid_benchmarks.summary import WINDOWS, drift, summarise

START_NS = 5_000_000_000
SOUND = np.array([True, False])  # image 1 is corrupt


def record(
    scheduled_s: np.ndarray[tuple[int], np.dtype[np.float64]],
    latency_s: np.ndarray[tuple[int], np.dtype[np.float64]] | float,
    *,
    image: int | list[int] = 0,
    outcome: str | list[str] = "ok",
    late_s: float = 0.0,
) -> Record:
    count = len(scheduled_s)
    scheduled = START_NS + np.rint(np.asarray(scheduled_s) * 1e9).astype(np.int64)
    done = scheduled + np.rint(np.broadcast_to(latency_s, count) * 1e9).astype(np.int64)
    return Record(
        scheduled_ns=scheduled,
        sent_ns=scheduled + round(late_s * 1e9),
        done_ns=done,
        image=np.broadcast_to(np.array(image, np.int64), count),
        query=np.arange(count),
        outcome=tuple([outcome] * count if isinstance(outcome, str) else outcome),
        start_ns=START_NS,
        shed=0,
    )


def scenario(seconds: float, warmup_s: float = 0.0, bound_ms: float | None = None) -> Scenario:
    return Scenario("test", OpenLoop(steady(10, seconds), 1), warmup_s, bound_ms)


TENTHS = np.arange(0.05, 20, 0.1)  # 10 requests a second for 20 s


def test_percentiles_are_those_of_the_exact_latencies() -> None:
    latency_s = np.random.default_rng(1).gamma(2.0, 0.05, TENTHS.size)
    summary = summarise(record(TENTHS, latency_s), scenario(20), SOUND)
    for percent, estimate in summary.latency_ms.items():
        assert estimate.value == pytest.approx(
            np.percentile(latency_s * 1000, percent, method="inverted_cdf"), rel=1e-6
        )
    assert summary.mean_ms == pytest.approx(1000 * latency_s.mean())


def test_the_warm_up_is_left_out() -> None:
    latency_s = np.where(TENTHS < 4, 3.0, 0.01)
    summary = summarise(record(TENTHS, latency_s), scenario(20, warmup_s=4), SOUND)
    assert summary.duration_s == 16
    assert summary.requests == 160
    assert summary.latency_ms[99.9].value == pytest.approx(10)
    assert summary.offered_per_s == pytest.approx(10)


def test_refusals_are_right_but_no_screenings() -> None:
    images = [0, 1] * 100
    latency_s = np.where(np.array(images) == 1, 0.001, 0.1)
    summary = summarise(record(TENTHS, latency_s, image=images), scenario(20), SOUND)
    assert (summary.screenings, summary.refusals, summary.failed) == (100, 100, 0)
    assert summary.latency_ms[50.0].value == pytest.approx(100)
    assert summary.refusal_median_ms == pytest.approx(1)
    assert summary.rate_per_s.value == pytest.approx(5, rel=0.02)


def test_failures_are_counted_by_kind_and_never_as_good() -> None:
    outcomes = ["ok"] * 180 + ["WrongAnswer"] * 15 + ["ServerOverloaded"] * 5
    summary = summarise(record(TENTHS, 0.01, outcome=outcomes), scenario(20), SOUND)
    assert summary.failures == {"WrongAnswer": 15, "ServerOverloaded": 5}
    assert summary.screenings == 180
    assert summary.rate_per_s.value == pytest.approx(9)


def test_goodput_counts_what_was_within_the_bound() -> None:
    latency_s = np.where(np.arange(TENTHS.size) % 4 == 0, 0.3, 0.1)
    summary = summarise(record(TENTHS, latency_s), scenario(20, bound_ms=200), SOUND)
    assert summary.goodput_per_s is not None
    assert summary.goodput_per_s.value == pytest.approx(7.5, rel=0.02)
    assert summary.within_bound is not None
    assert summary.within_bound.value == 0.75
    assert summarise(record(TENTHS, latency_s), scenario(20), SOUND).goodput_per_s is None


def test_late_dispatches_are_told() -> None:
    summary = summarise(record(TENTHS, 0.1, late_s=0.004), scenario(20), SOUND)
    assert summary.late_ms == pytest.approx((4.0, 4.0, 4.0))


def test_windows_add_up() -> None:
    summary = summarise(record(TENTHS, 0.01), scenario(20), SOUND)
    assert len(summary.windows) == WINDOWS
    assert sum(window.rate_per_s for window in summary.windows) * 20 / WINDOWS == 200
    assert drift(summary) == pytest.approx(0)


def test_a_drift_is_found_in_either_direction() -> None:
    slower = summarise(record(TENTHS, np.where(TENTHS < 10, 0.1, 0.13)), scenario(20), SOUND)
    faster = summarise(record(TENTHS, np.where(TENTHS < 10, 0.13, 0.1)), scenario(20), SOUND)
    assert drift(slower) == pytest.approx(0.3)
    assert drift(faster) == pytest.approx(0.3)


def test_a_drift_of_a_run_without_latencies_is_one_of_its_rates() -> None:
    """Offline: latencies are those of a full queue, whatever the server does."""
    offline = Scenario("offline", Offline(200), 0)
    steady_s = np.arange(1, 201) / 10
    halved_s = np.concatenate([np.arange(1, 151) / 10, 15 + np.arange(1, 76) / 5])
    for done_s, wanted in ((steady_s, 0.0), (halved_s, 1.0)):
        waits_s = done_s * np.linspace(0.1, 0.9, done_s.size)  # longer and longer
        one = record(done_s - waits_s, waits_s)
        assert drift(summarise(one, offline, SOUND)) == pytest.approx(wanted, abs=0.15)
    assert math.isnan(drift(summarise(record(steady_s, 0.0, outcome="x"), offline, SOUND)))


def test_a_query_takes_as_long_as_its_slowest_image_and_an_image_as_long_as_it_takes() -> None:
    streams = Scenario("multi-stream", MultiStream(2, 20), 0)
    latency_s = np.where(np.arange(TENTHS.size) % 2, 0.3, 0.1)
    queries = replace(record(TENTHS, latency_s), query=np.arange(TENTHS.size) // 2)
    summary = summarise(queries, streams, SOUND)
    assert summary.mean_ms == pytest.approx(300)
    assert summary.image_mean_ms == pytest.approx(200)


def test_windows_that_wander_are_no_drift() -> None:
    wave_s = 0.1 + 0.05 * np.sin(2 * np.pi * TENTHS / 5)  # two periods in each half
    later_s = wave_s + np.where(TENTHS < 10, 0.0, 0.02)
    for latency_s in (wave_s, later_s):
        assert drift(summarise(record(TENTHS, latency_s), scenario(20), SOUND)) == 0


def test_a_run_of_which_nothing_counts_has_no_figures() -> None:
    summary = summarise(record(np.array([0.5]), 0.1), scenario(20, warmup_s=1), SOUND)
    assert (summary.requests, summary.screenings) == (0, 0)
    assert math.isnan(summary.latency_ms[50.0].value)
    assert math.isnan(drift(summary))


def test_an_answer_after_the_end_counts_for_the_latency_and_not_for_the_rate() -> None:
    late = record(np.array([9.0]), 5.0)
    summary = summarise(late, Scenario("closed", ClosedLoop(1, 10), 0), SOUND)
    assert summary.latency_ms[50.0].value == pytest.approx(5000)
    assert summary.rate_per_s.value == 0
