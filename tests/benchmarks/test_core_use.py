"""Runs by threads and the wait for a core, as a server's metrics port tells them."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from thyroid_benchmarks.core_use import CoreUse, core_use_of, read_core_use, used_between

TEXT = """\
# HELP thyroid_network_runs_total Runs of a network by their threads
# TYPE thyroid_network_runs_total counter
thyroid_network_runs_total{model="transunet",threads="1"} 30
thyroid_network_runs_total{model="transunet",threads="2"} 12
thyroid_network_runs_total{model="resnet18",threads="1"} 42
# HELP thyroid_core_wait_seconds_total Time that runs waited for a core
thyroid_core_wait_seconds_total{model="transunet"} 1.25
thyroid_core_wait_seconds_total{model="resnet18"} 8e-05
nv_inference_count{model="transunet",version="1"} 42
"""


def test_the_counters_are_read() -> None:
    found = core_use_of(TEXT)
    assert found == {
        "transunet": CoreUse({1: 30, 2: 12}, 1.25),
        "resnet18": CoreUse({1: 42}, 8e-05),
    }
    assert found["transunet"].mean_wait_ms == pytest.approx(1250 / 42)
    assert CoreUse().mean_wait_ms == 0
    assert core_use_of("") == {}


def test_what_was_counted_before_is_taken_away() -> None:
    before = {"transunet": CoreUse({1: 30}, 1.0)}
    after = {"transunet": CoreUse({1: 30, 2: 5}, 1.5), "resnet18": CoreUse({1: 2}, 0.25)}
    assert used_between(before, after) == {
        "transunet": CoreUse({2: 5}, 0.5),
        "resnet18": CoreUse({1: 2}, 0.25),
    }
    assert used_between(None, after) is None
    assert used_between(before, None) is None


@pytest.fixture
def metrics() -> Iterator[str]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(TEXT.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_the_port_is_asked(metrics: str) -> None:
    assert await read_core_use(metrics) == core_use_of(TEXT)


async def test_a_port_that_does_not_answer_tells_nothing() -> None:
    assert await read_core_use("127.0.0.1:9") is None
    assert await read_core_use(None) is None
