"""Locust's user of the screening: our client over gRPC, under gevent.

Import it from a locustfile only: Locust has then replaced the standard library's sockets and
threads by gevent's, and this module tells gRPC to do without its own, once in each process.
"""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.experimental.gevent as grpc_gevent
from gevent.event import Event
from locust import User, constant, events, task
from locust.env import Environment
from locust.runners import WorkerRunner

from thyroid_benchmarks.exact_latencies import ExactLatencies
from thyroid_benchmarks.pool import INDEX_FILE, Pool, order, read_pool
from thyroid_benchmarks.references import References, findings_fault, read_references
from thyroid_benchmarks.target import NOT_REFUSED, REQUEST_TIMEOUT_S, WRONG_ANSWER
from thyroid_benchmarks.user_orders import order_seed
from thyroid_client import (
    ImageRejected,
    RetryPolicy,
    Screening,
    ThyroidClient,
    ThyroidClientError,
    Timeouts,
)

grpc_gevent.init_gevent()

_SCRIPT = Path(__file__).resolve().parent.parent / "scenarios.py"
_DEFAULT_FOLDER = Path("runs/benchmarks")
_DEFAULT_IMAGES = 150
_POOL_SEED = 1
_STOP_TIMEOUT_S = 30.0
_LOADING_S = 600.0
_log = logging.getLogger(__name__)


class AnswerFailure(Exception):  # noqa: N818 - it is what Locust lists a failed request under
    """A server's answer that is not the right one."""


@dataclass(frozen=True)
class _Load:
    """What the users of this process share.

    Attributes:
        pool: The images.
        references: The right answers; None where only the answers' form is checked.
        started: Counts the users.
    """

    pool: Pool
    references: References | None
    started: Iterator[int]


_exact = ExactLatencies()
_loaded = Event()


class ThyroidUser(User):
    """One client with a channel of its own, which sends one image after another.

    A closed loop: what it measures is what this client sees. For latencies that count from a
    schedule run the `server` scenario.
    """

    wait_time = constant(0)
    load: _Load

    def on_start(self) -> None:
        """Connect; every user of every worker has an order of its own."""
        # A worker's master may start its users while the worker still makes the images.
        _loaded.wait(_LOADING_S)
        self.client = ThyroidClient(
            str(self.host),
            timeouts=Timeouts(request_s=REQUEST_TIMEOUT_S),
            retry=RetryPolicy(attempts=1),
        )
        runner = self.environment.runner
        worker = runner.worker_index if isinstance(runner, WorkerRunner) else 0
        seed = order_seed(worker, next(self.load.started))
        self.images = itertools.cycle(order(self.load.pool, seed))

    def on_stop(self) -> None:
        """Disconnect."""
        self.client.close()

    @task
    def screen(self) -> None:
        """Send one image and compare the answer with the right one."""
        index = next(self.images)
        case, content = self.load.pool.cases[index], self.load.pool.contents[index]
        screening: Screening | None = None
        error: Exception | None = None
        begun_ns = time.perf_counter_ns()
        try:
            screening = self.client.screen(content)
        except ThyroidClientError as failure:
            error = failure
        latency_us = (time.perf_counter_ns() - begun_ns) // 1000
        if case.kind == "corrupt":
            if screening is not None:
                error = AnswerFailure(f"{NOT_REFUSED}: {case.form}")
            elif isinstance(error, ImageRejected):
                error = None
        elif screening is not None:
            error = _fault(self.load.references, index, screening)
        self.environment.events.request.fire(
            request_type="gRPC",
            name=case.kind,
            response_time=latency_us / 1000,
            response_length=0,
            exception=error,
            context={},
        )
        if error is None:
            _exact.add(case.kind, latency_us)


def _fault(references: References | None, index: int, screening: Screening) -> AnswerFailure | None:
    if references is None or index not in references.answers:
        return None
    fault = findings_fault(screening, references.answers[index])
    return None if fault is None else AnswerFailure(f"{WRONG_ANSWER}: {fault}")


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--pool",
        default="",
        help="Folder of images, as the benchmarks' `prepare` prints it; by default one is made.",
    )
    parser.add_argument(
        "--exact-json", default="", help="Write exact latencies to this file at the end."
    )
    parser.add_argument(
        "--check",
        choices=("answers", "form"),
        default="answers",
        help="Compare with the answers of the weights shipped here, or only the answers' form.",
    )


def _load_images(environment: Environment, **_: Any) -> None:
    options = environment.parsed_options
    assert options is not None, "Locust sets its options before this event"
    # A request on its way is waited for unless told otherwise: where its user is killed within it,
    # gRPC cannot close the channel, and a worker never ends.
    environment.stop_timeout = environment.stop_timeout or _STOP_TIMEOUT_S
    if isinstance(environment.runner, WorkerRunner):
        _events.quit.add_listener(_leave)
    folder = Path(options.pool) if options.pool else _default_pool()
    references = read_references(folder) if options.check == "answers" else None
    if references is None:
        _log.warning("answers are checked by their form alone: there are no right answers")
    ThyroidUser.load = _Load(read_pool(folder), references, itertools.count())
    _loaded.set()


def _leave(exit_code: int, **_: Any) -> None:
    """End a worker, which has reported by now, without taking its interpreter down.

    It would close the channels of users that were killed, and gRPC may wait there for ever.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _default_pool() -> Path:
    """Make the default images where they are missing; of several processes one does it."""
    _DEFAULT_FOLDER.mkdir(parents=True, exist_ok=True)
    folder = _DEFAULT_FOLDER / f"pool-{_DEFAULT_IMAGES}-{_POOL_SEED}"
    command = [sys.executable, str(_SCRIPT), "prepare", "--out", str(_DEFAULT_FOLDER)]
    command += ["--images", str(_DEFAULT_IMAGES), "--seed", str(_POOL_SEED)]
    with (_DEFAULT_FOLDER / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    if not (folder / INDEX_FILE).is_file():
        raise RuntimeError(
            f"the images could not be made: {done.stderr.strip()[-500:]}; a pool was wanted: "
            "install the extra `bench`, or name a folder by --pool"
        )
    return folder


def _report(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001 - Locust's signature
    _exact.hand_over(data)


def _collect(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001 - Locust's signature
    _exact.take(data)


def _reset() -> None:
    _exact.clear()


def _finish(environment: Environment, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        return
    print(_exact.table(), flush=True)
    if environment.parsed_options is not None and environment.parsed_options.exact_json:
        _exact.write(Path(environment.parsed_options.exact_json))


_events: Any = events  # Locust gives them no types
_events.init_command_line_parser.add_listener(_add_options)
_events.init.add_listener(_load_images)
_events.report_to_master.add_listener(_report)
_events.worker_report.add_listener(_collect)
_events.reset_stats.add_listener(_reset)
_events.quitting.add_listener(_finish)
