"""The pool of cores: in one process by every order of events, and between processes."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from thyroid_server.core_pool import CorePool, CorePoolError, Loan, create_pool

AT_ONCE_S = 0.0  # as long as a look takes
DEADLINE_S = 60.0
SIZES = (1, 2, 4, 8)


class Borrowers(RuleBasedStateMachine):
    """Several borrowers that come, go and fail in any order; none waits."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.cores = 0
        self.idle: list[CorePool] = []
        self.loans: list[tuple[CorePool, contextlib.ExitStack, Loan]] = []

    @initialize(cores=st.integers(1, 9))
    def create(self, cores: int) -> None:
        self.cores = cores
        pool = Path(self.folder.name) / "pool"
        create_pool(pool, cores)
        self.idle = [CorePool(pool) for _ in range(4)]
        assert [each.cores for each in self.idle] == [cores] * 4

    @property
    def free(self) -> int:
        return self.cores - sum(loan.cores for _, _, loan in self.loans)

    @rule(sizes=st.sets(st.sampled_from(SIZES)).map(lambda some: tuple(sorted({1, *some}))))
    def borrow(self, sizes: tuple[int, ...]) -> None:
        if not self.idle:
            return
        pool, stack = self.idle.pop(), contextlib.ExitStack()
        loan = stack.enter_context(pool.borrow(sizes, AT_ONCE_S))
        # Nobody had to wait, so it is all that is free and of use.
        assert loan.cores == max((size for size in sizes if size <= self.free), default=0)
        self.loans.append((pool, stack, loan))

    @rule(data=st.data(), fails=st.booleans())
    def give_back(self, data: st.DataObject, fails: bool) -> None:
        if not self.loans:
            return
        pool, stack, _ = self.loans.pop(data.draw(st.integers(0, len(self.loans) - 1)))
        with pytest.raises(ZeroDivisionError) if fails else contextlib.nullcontext(), stack:
            if fails:
                raise ZeroDivisionError
        self.idle.append(pool)

    @invariant()
    def never_more_than_there_are(self) -> None:
        assert self.free >= 0

    def teardown(self) -> None:
        for _, stack, _ in self.loans:
            stack.close()
        if self.idle:
            with self.idle[0].borrow(range(1, self.cores + 1), AT_ONCE_S) as loan:
                assert loan.cores == self.cores  # all came back
        for pool in [*self.idle, *(pool for pool, _, _ in self.loans)]:
            pool.close()
        self.folder.cleanup()


TestBorrowers = Borrowers.TestCase
TestBorrowers.settings = settings(max_examples=40, stateful_step_count=20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_pool(tmp_path / "pool", 4)
    return tmp_path / "pool"


@pytest.fixture
def pool(folder: Path) -> Iterator[CorePool]:
    pool = CorePool(folder)
    yield pool
    pool.close()


def waits(folder: Path) -> None:
    """Return once somebody is at the head of the line and cannot go on."""
    watcher = CorePool(folder)
    try:
        while True:
            # A look of our own would be a wait, too: it is the bell that the waiting one silences.
            watcher._ring()
            if not watcher._heard.poll(50):
                return
    finally:
        watcher.close()


@pytest.mark.parametrize(("given_back", "received"), [(1, 1), (2, 1), (3, 2), (4, 2)])
def test_who_had_to_wait_gets_half_of_what_is_free(
    folder: Path, pool: CorePool, given_back: int, received: int
) -> None:
    loans: list[Loan] = []

    def borrow() -> None:
        other = CorePool(folder)
        with other.borrow((1, 2, 3, 4), DEADLINE_S) as loan:
            loans.append(loan)
        other.close()

    kept = CorePool(folder)
    with contextlib.ExitStack() as stack:
        if given_back < 4:
            stack.enter_context(kept.borrow((1, 4 - given_back)))
        with pool.borrow((1, given_back)) as loan:
            assert loan == Loan(given_back, loan.waited_s)
            thread = threading.Thread(target=borrow)
            thread.start()
            waits(folder)
            assert not loans
        thread.join(DEADLINE_S)
    kept.close()
    assert [loan.cores for loan in loans] == [received]
    assert loans[0].waited_s > 0


def test_patience_ends_without_a_core(folder: Path, pool: CorePool) -> None:
    other = CorePool(folder)
    with pool.borrow((1, 4)), other.borrow((1, 4), 0.01) as loan:
        assert loan.cores == 0
        assert loan.waited_s >= 0.01
    with other.borrow((1, 4), AT_ONCE_S) as loan:
        assert loan.cores == 4  # what was not lent was not given back either
    other.close()


HOLD = """
import sys, pathlib
from thyroid_server.core_pool import CorePool
with CorePool(pathlib.Path(sys.argv[1])).borrow((1, 2, 3, 4)) as loan:
    print(loan.cores, flush=True)
    sys.stdin.read()
"""


def test_the_cores_of_a_killed_process_are_free_again(folder: Path, pool: CorePool) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "4\n"
    with pool.borrow((1,), AT_ONCE_S) as loan:
        assert loan.cores == 0

    def kill_once_somebody_waits() -> None:
        waits(folder)
        holder.kill()

    thread = threading.Thread(target=kill_once_somebody_waits)
    thread.start()
    with pool.borrow((1, 2), DEADLINE_S) as loan:
        assert loan.cores == 2  # half of 4, since it waited
    thread.join()
    with holder:
        assert holder.wait() == -signal.SIGKILL


HAMMER = """
import json, pathlib, sys, time
from thyroid_server.core_pool import CorePool
pool = CorePool(pathlib.Path(sys.argv[1]))
spans = []
for number in range(200):
    try:
        with pool.borrow((1, 2, 4)) as loan:
            begun = time.monotonic_ns()
            time.sleep(0.0005)
            spans.append((begun, time.monotonic_ns(), loan.cores))
            if number % 10 == 0:
                raise KeyError
    except KeyError:
        pass
print(json.dumps(spans))
"""


def test_processes_never_have_more_than_there_are(tmp_path: Path) -> None:
    create_pool(tmp_path / "pool", 2)
    hammers = [
        subprocess.Popen(
            [sys.executable, "-c", HAMMER, str(tmp_path / "pool")], stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    outputs = [hammer.communicate(timeout=DEADLINE_S)[0] for hammer in hammers]
    spans = [span for output in outputs for span in json.loads(output)]
    assert len(spans) == 600
    assert {cores for _, _, cores in spans} <= {1, 2}
    # The clock is the machine's. Where one ends as another begins, the end comes first.
    changes = sorted(
        change for begun, ended, cores in spans for change in ((begun, cores), (ended, -cores))
    )
    taken = 0
    for _, cores in changes:
        taken += cores
        assert taken <= 2
    assert taken == 0


WAIT = """
import pathlib, sys, time
from thyroid_server.core_pool import CorePool
pool = CorePool(pathlib.Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
with pool.borrow((1,)) as loan:
    print(time.monotonic_ns(), loan.cores, flush=True)
    time.sleep(0.002)
"""


def test_first_come_first_served(tmp_path: Path) -> None:
    create_pool(tmp_path / "pool", 1)
    pool = CorePool(tmp_path / "pool")
    waiters = [
        subprocess.Popen(
            [sys.executable, "-c", WAIT, str(tmp_path / "pool")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(7)
    ]
    with pool.borrow((1,)):
        for waiter in waiters:
            assert waiter.stdin is not None
            assert waiter.stdout is not None
            assert waiter.stdout.readline() == "ready\n"
            before = _waiting_at(waiter)
            waiter.stdin.write("go\n")
            waiter.stdin.flush()
            deadline = time.monotonic() + DEADLINE_S
            # In line once the kernel has it wait for something else than its standard input.
            while _waiting_at(waiter) in (before, "0", ""):
                assert time.monotonic() < deadline
                time.sleep(0.001)
            time.sleep(0.02)
    answers = [waiter.communicate(timeout=DEADLINE_S)[0].split() for waiter in waiters]
    assert [cores for _, cores in answers] == ["1"] * len(waiters)
    served = [int(at_ns) for at_ns, _ in answers]
    assert served == sorted(served)
    pool.close()


def _waiting_at(process: subprocess.Popen[str]) -> str:
    """The kernel function in which a process sleeps; "0" while it runs."""
    return Path(f"/proc/{process.pid}/wchan").read_text(encoding="ascii")


def test_what_is_no_pool_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorePoolError, match="unset THYROID_CORE_POOL"):
        CorePool(tmp_path / "missing")
    create_pool(tmp_path / "empty", 0)
    with pytest.raises(CorePoolError, match="holds 0 cores"):
        CorePool(tmp_path / "empty")
