"""The load generator: sends by a scenario and writes down when, in nanoseconds."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_benchmarks.scenarios import ClosedLoop, MultiStream, Offline, OpenLoop, Scenario
from thyroid_benchmarks.schedule import NS_PER_S, poisson_schedule_ns
from thyroid_benchmarks.target import Target

Clock = Callable[[], int]
"""Nanoseconds since some moment; never goes back."""

# An open loop does not wait, so that a server that has stopped would fill the memory.
MAX_IN_FLIGHT = 5000


@dataclass(frozen=True)
class Record:
    """Every request of a run, in the order of completion. Times are of one clock.

    Attributes:
        scheduled_ns: INT64 [n], when each was due; in a closed loop when it was sent.
        sent_ns: INT64 [n], when it was sent.
        done_ns: INT64 [n], when its answer was there.
        image: INT64 [n], its index in the pool.
        query: INT64 [n], which query it was part of; one request is one query but in multi stream.
        outcome: `target.OK` or the kind of failure, n of them.
        start_ns: When the run began.
        shed: How many were never sent because `MAX_IN_FLIGHT` were on their way.
    """

    scheduled_ns: npt.NDArray[np.int64]
    sent_ns: npt.NDArray[np.int64]
    done_ns: npt.NDArray[np.int64]
    image: npt.NDArray[np.int64]
    query: npt.NDArray[np.int64]
    outcome: tuple[str, ...]
    start_ns: int
    shed: int


class _Run:
    def __init__(self, target: Target, images: Sequence[int], clock: Clock) -> None:
        self.target = target
        self.images: Iterator[int] = itertools.cycle(images)
        self.queries = itertools.count()
        self.clock = clock
        self.start_ns = clock()
        self.rows: list[tuple[int, int, int, int, int]] = []
        self.outcomes: list[str] = []
        self.shed = 0

    async def send(self, image: int, query: int, scheduled_ns: int | None) -> None:
        sent_ns = self.clock()
        outcome = await self.target.send(image)
        done_ns = self.clock()
        due_ns = sent_ns if scheduled_ns is None else scheduled_ns
        self.rows.append((due_ns, sent_ns, done_ns, image, query))
        self.outcomes.append(outcome)

    def record(self) -> Record:
        scheduled, sent, done, image, query = np.array(self.rows, np.int64).reshape(-1, 5).T
        return Record(
            scheduled_ns=scheduled,
            sent_ns=sent,
            done_ns=done,
            image=image,
            query=query,
            outcome=tuple(self.outcomes),
            start_ns=self.start_ns,
            shed=self.shed,
        )


async def generate(
    scenario: Scenario,
    target: Target,
    images: Sequence[int],
    clock: Clock = time.perf_counter_ns,
) -> Record:
    """Run a scenario to its end, and until every request has been answered.

    Args:
        scenario: What to send when.
        target: Takes it.
        images: Indices of the pool in the order in which they are sent, again and again.
        clock: Of the same pace as the event loop's timers.

    Returns:
        What became of every request, those of the warm-up included.
    """
    run = _Run(target, images, clock)
    load = scenario.load
    if isinstance(load, ClosedLoop):
        await _closed(run, load)
    elif isinstance(load, MultiStream):
        await _multi_stream(run, load)
    elif isinstance(load, OpenLoop):
        await _open(run, load)
    else:
        await _offline(run, load)
    return run.record()


async def _closed(run: _Run, load: ClosedLoop) -> None:
    end_ns = run.start_ns + round(load.duration_s * NS_PER_S)

    async def client() -> None:
        while run.clock() < end_ns:
            await run.send(next(run.images), next(run.queries), None)

    await asyncio.gather(*(client() for _ in range(load.clients)))


async def _multi_stream(run: _Run, load: MultiStream) -> None:
    end_ns = run.start_ns + round(load.duration_s * NS_PER_S)
    while (asked_ns := run.clock()) < end_ns:
        query = next(run.queries)
        together = [next(run.images) for _ in range(load.images_per_query)]
        await asyncio.gather(*(run.send(image, query, asked_ns) for image in together))


async def _open(run: _Run, load: OpenLoop) -> None:
    in_flight: set[asyncio.Task[None]] = set()
    for offset_ns in poisson_schedule_ns(load.stages, load.seed):
        due_ns = run.start_ns + int(offset_ns)
        wait_ns = due_ns - run.clock()
        # Where the generator is behind it sends at once, but lets answers in between.
        await asyncio.sleep(max(0, wait_ns) / NS_PER_S)
        if len(in_flight) >= MAX_IN_FLIGHT:
            run.shed += 1
            continue
        task = asyncio.create_task(run.send(next(run.images), next(run.queries), due_ns))
        in_flight.add(task)
        task.add_done_callback(in_flight.discard)
    await asyncio.gather(*in_flight)


async def _offline(run: _Run, load: Offline) -> None:
    remaining = iter(range(load.images))

    async def worker() -> None:
        for _ in remaining:
            await run.send(next(run.images), next(run.queries), None)

    await asyncio.gather(*(worker() for _ in range(load.in_flight)))
