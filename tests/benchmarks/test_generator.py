"""The generator against a server of known service time and a known stall, on a virtual clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from thyroid_benchmarks.generator import MAX_IN_FLIGHT, Record, generate
from thyroid_benchmarks.scenarios import (
    ClosedLoop,
    MultiStream,
    Offline,
    OpenLoop,
    Scenario,
    Wish,
    make_scenario,
)
from thyroid_benchmarks.schedule import poisson_schedule_ns, steady
from thyroid_benchmarks.summary import Summary, summarise

ALL_SOUND = np.ones(10, bool)
STALL = (40.0, 44.0)


@pytest.fixture
def run_on(play: Any, fake_server: Any) -> Any:
    """Run a scenario on a fake server; return its record, its figures and the server."""

    def run(scenario: Scenario, **server_options: Any) -> tuple[Record, Summary, Any]:
        servers = []

        async def whole(loop: Any) -> Record:
            servers.append(fake_server(loop.time, **server_options))
            return await generate(scenario, servers[0], range(10), loop.time_ns)

        record = play(whole)
        return record, summarise(record, scenario, ALL_SOUND), servers[0]

    return run


def test_a_stall_shows_in_the_open_loop_and_not_in_the_closed_one(run_on: Any) -> None:
    """Coordinated omission: one client of a stalled server loses one request to the stall.

    The server takes 50 ms and stalls once for 4 s of 100 s. In the open loop at 5/s about 20
    requests fall due during the stall, 4% of all; they wait for 2 s on average.
    """
    closed = Scenario("closed", ClosedLoop(1, 100), warmup_s=0)
    opened = Scenario("open", OpenLoop(steady(5, 100), seed=1), warmup_s=0)
    _, of_closed, _ = run_on(closed, service_s=0.05, stall_s=STALL)
    record, of_open, _ = run_on(opened, service_s=0.05, stall_s=STALL)
    assert of_closed.latency_ms[99.0].value == pytest.approx(50)
    assert of_closed.latency_ms[99.9].value == pytest.approx(50, abs=1)
    assert of_open.latency_ms[99.0].value > 2500
    assert of_open.latency_ms[50.0].value < 70
    # Whatever fell due at least a second before the end of the stall waited out that second.
    due_s = (record.scheduled_ns - record.start_ns) / 1e9
    waits_ms = (record.done_ns - record.scheduled_ns) / 1e6
    stalled = (due_s >= STALL[0]) & (due_s < STALL[1] - 1)
    assert stalled.sum() > 8
    assert waits_ms[stalled].min() > 1000
    assert 3500 < waits_ms.max() < 4500


def test_without_a_stall_both_loops_agree(run_on: Any) -> None:
    _, of_closed, _ = run_on(Scenario("closed", ClosedLoop(1, 100), 0), service_s=0.05)
    _, of_open, _ = run_on(Scenario("open", OpenLoop(steady(1, 100), 1), 0), service_s=0.05)
    assert of_closed.latency_ms[50.0].value == pytest.approx(50)
    assert of_open.latency_ms[50.0].value == pytest.approx(50, rel=0.01)


def test_an_open_loop_sends_when_it_is_due_whatever_the_server_does(run_on: Any) -> None:
    stages = steady(20, 10)
    record, _, server = run_on(Scenario("open", OpenLoop(stages, 3), 0), service_s=1.0)
    wanted = poisson_schedule_ns(stages, 3)
    np.testing.assert_array_equal(np.sort(record.scheduled_ns) - record.start_ns, wanted)
    late_ms = (record.sent_ns - record.scheduled_ns) / 1e6
    assert np.abs(late_ms).max() <= 0.001
    assert server.most_in_flight > 100


def test_a_mean_wait_is_that_of_the_queue_m_d_1(run_on: Any) -> None:
    """Pollaczek and Khinchine: at load 0.7 and constant service s the mean wait is 0.7 s / 0.6."""
    record, summary, _ = run_on(Scenario("open", OpenLoop(steady(7, 1500), 2), 0), service_s=0.1)
    assert summary.mean_ms == pytest.approx(100 + 100 * 0.7 / (2 * 0.3), rel=0.1)
    assert summary.rate_per_s.value == pytest.approx(7, rel=0.03)
    assert record.shed == 0


@pytest.mark.parametrize(("clients", "workers", "rate"), [(1, 1, 20), (8, 2, 40), (2, 4, 40)])
def test_a_closed_loop_keeps_its_clients_busy(
    run_on: Any, clients: int, workers: int, rate: float
) -> None:
    scenario = Scenario("closed", ClosedLoop(clients, 50), warmup_s=5)
    record, summary, server = run_on(scenario, service_s=0.05, workers=workers)
    assert server.most_in_flight == clients
    assert summary.rate_per_s.value == pytest.approx(rate, rel=0.01)
    np.testing.assert_array_equal(record.scheduled_ns, record.sent_ns)
    wanted_ms = 1000 * clients / rate
    assert summary.latency_ms[50.0].value == pytest.approx(wanted_ms, rel=0.01)


def test_multi_stream_waits_for_the_whole_query(run_on: Any) -> None:
    scenario = Scenario("multi", MultiStream(8, 40), warmup_s=0)
    record, summary, server = run_on(scenario, service_s=0.05, workers=2)
    assert server.most_in_flight == 8
    # Eight images on two workers: four rounds.
    assert summary.latency_ms[50.0].value == pytest.approx(200)
    assert set(np.bincount(record.query)) == {8}


def test_offline_keeps_its_limit_and_sends_all(run_on: Any) -> None:
    scenario = Scenario("offline", Offline(200, in_flight=16), warmup_s=0)
    record, summary, server = run_on(scenario, service_s=0.05, workers=2)
    assert server.most_in_flight == 16
    assert len(record.outcome) == 200
    assert summary.rate_per_s.value == pytest.approx(40, rel=0.01)
    assert summary.latency_ms == {}


def test_offline_counts_when_all_that_was_sent_at_once_is_done(run_on: Any) -> None:
    """64 at once on a server of 40/s are done after 1.6 s, and as many again after 3.2."""
    scenario = make_scenario("offline", Wish(warmup_s=1, rate_per_s=40, images=600))
    assert scenario.warmup_s == pytest.approx(3.2)
    record, summary, _ = run_on(scenario, service_s=0.05, workers=2)
    first_ns = record.start_ns + round(scenario.warmup_s * 1e9)
    assert (record.done_ns <= first_ns).sum() == 128
    assert summary.requests == 600 - 128
    # A longer warm-up that was wished for stays.
    assert make_scenario("offline", Wish(warmup_s=5, rate_per_s=40)).warmup_s == 5


def test_images_are_sent_in_the_order_given_again_and_again(run_on: Any) -> None:
    _, _, server = run_on(Scenario("closed", ClosedLoop(1, 2.5), 0), service_s=0.1)
    assert server.images == [number % 10 for number in range(25)]


def test_a_server_that_stopped_does_not_fill_the_memory(run_on: Any) -> None:
    scenario = Scenario("open", OpenLoop(steady(1000, 10), 1), 0)
    record, summary, _ = run_on(scenario, service_s=100.0)
    assert len(record.outcome) == MAX_IN_FLIGHT
    assert summary.failures == {"Shed": record.shed}
    assert record.shed + MAX_IN_FLIGHT == poisson_schedule_ns(steady(1000, 10), 1).size


@pytest.mark.parametrize(
    ("name", "open_loop"),
    [
        ("single-stream", False),
        ("clients", False),
        ("multi-stream", False),
        ("offline", False),
        ("server", True),
        ("step", True),
        ("spike", True),
        ("soak", True),
    ],
)
def test_every_scenario_runs_and_says_which_loop_it_is(
    run_on: Any, name: Any, open_loop: bool
) -> None:
    scenario = make_scenario(name, Wish(duration_s=20, warmup_s=2, rate_per_s=10, images=1000))
    _, summary, _ = run_on(scenario, service_s=0.05, workers=2)
    assert scenario.is_open is open_loop
    assert scenario.as_dict()["loop"] == ("open" if open_loop else "closed")
    assert summary.screenings > 30
    assert summary.failures == {}
    if name != "offline":
        assert summary.duration_s == pytest.approx(20)
