"""Contestants of known rates for comparisons: their runs are made up, nothing is served."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from thyroid_benchmarks.generator import Record
from thyroid_benchmarks.measure import Measured, Subject
from thyroid_benchmarks.peer_environment import PeerUnavailableError
from thyroid_benchmarks.peer_figures import Contestant
from thyroid_benchmarks.pool import Case, Pool
from thyroid_benchmarks.scenarios import ClosedLoop, Scenario
from thyroid_benchmarks.schedule import NS_PER_S
from thyroid_benchmarks.summary import summarise
from thyroid_benchmarks.target import OK, WRONG_ANSWER
from thyroid_benchmarks.verdict import Observed, Rules, judge

POOL = Pool(
    (Case(0, "nodule", "PNG", 80, 120), Case(1, "corrupt", "black", 0, 0)), (b"good", b"bad"), 1
)
SUBJECT = Subject("", POOL, None, "0123456789abcdef", Rules(), 1)


class FakeTarget:
    """Answers as its contestant does; tells what it was sent."""

    def __init__(self, outcome: Callable[[int], str], faults: list[str]) -> None:
        self.outcome = outcome
        self.faults = faults
        self.sent: list[int] = []

    async def send(self, index: int) -> str:
        self.sent.append(index)
        return self.outcome(index)

    def compare_kept(self) -> tuple[int, list[str]]:
        return len(self.sent), self.faults

    async def close(self) -> None:
        pass


class Fakes:
    """Contestants of known rates, and what was done with them."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.running: list[str] = []
        self.order: list[tuple[str, int]] = []
        self.ms: dict[str, float] = {}
        self.wrong_under_load: set[str] = set()
        self.disturbed: set[tuple[str, int]] = set()  # contestants and rounds from 0

    def make(
        self,
        name: str,
        ms: float,
        outcome: Callable[[int], str] = lambda _: OK,
        *,
        starts: bool = True,
        faults: tuple[str, ...] = (),
    ) -> Contestant:
        self.ms[name] = ms

        @contextlib.contextmanager
        def opened() -> Iterator[Any]:
            self.opened.append(name)
            if not starts:
                raise PeerUnavailableError("it said: no port")
            self.running.append(name)
            assert self.running == [name], "two servers at once"
            try:
                yield lambda *_: FakeTarget(outcome, list(faults))
            finally:
                self.running.remove(name)

        return Contestant(name, "", "as it comes", opened, {"package": "1.0"})

    async def run(self, scenario: Scenario, subject: Subject, target: Any) -> Measured:
        (name,) = self.running
        assert isinstance(scenario.load, ClosedLoop)
        self.order.append((name, scenario.load.clients))
        # Half a percent slower with every run, as a machine that warms up.
        service_ms = self.ms[name] * (1 + 0.005 * len(self.order))
        number = self.opened.count(name) - 1
        return measured(
            scenario,
            service_ms,
            wrong=name in self.wrong_under_load,
            others=0.5 if (name, number) in self.disturbed else 0.0,
        )


def measured(
    scenario: Scenario, service_ms: float, *, wrong: bool = False, others: float = 0.0
) -> Measured:
    service_ns = round(service_ms * 1e6)
    done = np.arange(1, round(14 * NS_PER_S / service_ns), dtype=np.int64) * service_ns
    outcomes = (WRONG_ANSWER if wrong else OK,) * done.size
    sent = done - service_ns
    record = Record(sent, sent, done, done * 0, np.arange(done.size), outcomes, 0, 0)
    summary = summarise(record, scenario, np.array([True]))
    observed = Observed(0.01, others, 0.0, 50, (), references=True)
    verdict = judge(summary, observed, None, Rules(), is_open=False)
    return Measured(scenario, record, summary, observed, verdict, None)
