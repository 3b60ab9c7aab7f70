"""Our server and its peers side by side, in turns, round after round."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from thyroid_benchmarks.console import run_line
from thyroid_benchmarks.measure import Measured, Subject, measure_target
from thyroid_benchmarks.peer_environment import PeerUnavailableError
from thyroid_benchmarks.peer_figures import Comparison, Connect, Contestant, PeerPlan, PeerRun
from thyroid_benchmarks.peer_process import START_TIMEOUT_S
from thyroid_benchmarks.pool import sound_images
from thyroid_benchmarks.scenarios import Scenario, make_scenario
from thyroid_benchmarks.target import KEEP_EVERY, OK, WRONG_ANSWER, ScreeningTarget

_CHECKED_SOUND = 20
_CHECKED_BAD = 2
_POLL_S = 0.2

Say = Callable[[str], object]
Run = Callable[[Scenario, Subject, ScreeningTarget], Awaitable[Measured]]


async def compare_peers(
    contestants: Sequence[Contestant],
    subject: Subject,
    plan: PeerPlan,
    say: Say,
    *,
    unavailable: Mapping[str, str] | None = None,
    run: Run = measure_target,
) -> Comparison:
    """Measure all contestants in every round.

    Each is started anew for its turn and ended after it, so that none that is idle disturbs the
    one that is measured. The order turns by one in every round and runs backwards in every second,
    and so do the numbers of clients: whoever profits from a place has each place. Before each turn
    a server must answer the first images of the pool rightly, which warms it up too.

    Args:
        contestants: Ours among them, by the name `peer_list.OURS`.
        subject: Images, right answers, rules; its address is not used.
        plan: How much.
        say: Told every run's line.
        unavailable: By title, why a contestant cannot be had; it is not tried.
        run: Runs one scenario.

    Returns:
        The comparison; who could not be started or answered wrongly stands in its `faults`.
    """
    runs: list[PeerRun] = []
    faults = dict(unavailable or {})
    for number in range(plan.rounds):
        for one in turn(contestants, number):
            if one.title in faults:
                continue
            say(f"round {number + 1} of {plan.rounds}: {one.title}")
            own = replace(subject, rules=one.rules(subject.rules))
            try:
                with one.open() as connect:
                    await check_answers(connect, subject)
                    for clients in turn(plan.clients, number):
                        scenario = make_scenario("clients", replace(plan.wish, clients=clients))
                        name = f"{one.title}, {scenario.name}, round {number + 1}"
                        measured = await run(
                            replace(scenario, name=name), own, connect(own, KEEP_EVERY)
                        )
                        runs.append(PeerRun(one.title, clients, number, measured))
                        say(run_line(measured))
            except PeerUnavailableError as error:
                faults[one.title] = str(error)
                say(f"         {one.title} is out: {error}")
    return Comparison(tuple(contestants), tuple(runs), faults, plan)


async def check_answers(connect: Connect, subject: Subject) -> None:
    """See that a server answers the first images of the pool rightly, masks included.

    Raises:
        PeerUnavailableError: It does not.
    """
    target = connect(subject, 1)
    is_sound = sound_images(subject.pool)
    checked = [
        *np.flatnonzero(is_sound)[:_CHECKED_SOUND],
        *np.flatnonzero(~is_sound)[:_CHECKED_BAD],
    ]
    try:
        await _first_answer(target, int(checked[0]))
        for index in map(int, checked):
            if (outcome := await target.send(index)) != OK:
                raise PeerUnavailableError(
                    f"image {index} ({subject.pool.cases[index].kind}) came back as {outcome} "
                    "before the load; the right answer was wanted"
                )
        _, faults = target.compare_kept()
    finally:
        await target.close()
    if faults:
        raise PeerUnavailableError(f"{len(faults)} answers before the load differ: {faults[0]}")


async def _first_answer(target: ScreeningTarget, index: int) -> None:
    """Wait until a server that listens also answers: some load their networks after that."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while (outcome := await target.send(index)) not in {OK, WRONG_ANSWER}:
        if time.monotonic() > deadline:
            raise PeerUnavailableError(
                f"no answer within {START_TIMEOUT_S:g} s, but {outcome}; a screening was wanted"
            )
        await asyncio.sleep(_POLL_S)


def turn(items: Sequence[Any], number: int) -> list[Any]:
    """Return the items in the order of a round.

    Each pair of rounds has one order and its reverse, so that all have the same place on average;
    the next pair begins with the next item, so that each has had every place after all pairs.
    """
    shift = number // 2 % max(len(items), 1)
    turned = [*items[shift:], *items[:shift]]
    return turned[::-1] if number % 2 else turned
