"""The cores of a machine, shared by the processes of one server.

Every instance of a model is a process of its own. With a fixed number of threads each, either a
lone request leaves cores idle or several requests crowd them. Here a request is given cores before
it runs: all of them where nobody else wants any, one where many do.

A core is a lock on a file. Locks are the kernel's: those of a process that dies, however it dies,
are free again, so that no core is ever lost. Waiting for any one of several locks is what the
kernel does not offer; hence more files:

```
core-<n>     locked by whoever has this core
place-<n>    locked by whoever stands there in line; who has place 0 takes cores, one at a time
bell         a named pipe; rung by whoever gives cores back, heard by whoever has place 0
```

Many who wait for one lock are woken together, and any of them may get it: one in seven was
overtaken so. In the line each waits for the lock of the place ahead and holds its own until then:
first come, first served.

The locks alone are the truth. The bell only ends a wait early: where it stays silent because a
process died, the one at place 0 looks again after a moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

POOL_VARIABLE = "THYROID_CORE_POOL"
"""The environment variable by which a server tells its processes the pool's folder."""

SHARE_CORES = "share_cores"
"""The parameter by which a model's configuration asks for cores of the pool."""

# Far longer than any run of a network, and shorter than requests wait in the server's queue.
PATIENCE_S = 10.0
_LOOK_AGAIN_S = 0.25
_LEAST_PLACES = 8
_CORE = "core-"
_PLACE = "place-"
_BELL = "bell"
_WHOLE_PIPE_BYTES = 1 << 16


class CorePoolError(ValueError):
    """A folder that holds no pool."""


@dataclass(frozen=True)
class Loan:
    """What a request was given.

    Attributes:
        cores: How many; 0 where none became free in time.
        waited_s: How long it had to wait for them.
    """

    cores: int
    waited_s: float


def create_pool(folder: Path, cores: int) -> None:
    """Make the files of a pool.

    Args:
        folder: Is made; whoever removes it ends the pool.
        cores: How many there are, from 1.
    """
    folder.mkdir()
    for number in range(cores):
        (folder / f"{_CORE}{number}").touch()
    # With an instance of each of two networks for a core, at most so many wait. Were there more,
    # they would be served all the same, only not in the order of their coming.
    for number in range(max(_LEAST_PLACES, 2 * cores)):
        (folder / f"{_PLACE}{number:04d}").touch()
    os.mkfifo(folder / _BELL)


class CorePool:
    """One process's access to a pool. Use it from one thread at a time."""

    def __init__(self, folder: Path) -> None:
        """Open the files of a pool.

        Args:
            folder: From `create_pool`.

        Raises:
            CorePoolError: It is none.
        """
        files = sorted(folder.glob(f"{_CORE}*"))
        self._open: list[int] = []
        try:
            self._cores = [self._file(file) for file in files]
            self._line = [self._file(file) for file in sorted(folder.glob(f"{_PLACE}*"))]
            # For both ways, so that it never comes to an end when nobody else has it open.
            self._bell = self._file(folder / _BELL)
        except OSError as error:
            self.close()
            raise CorePoolError(
                f"{folder} cannot be used as a pool of cores ({error.strerror}); the folder that a "
                f"running thyroid-serve gives its own processes was wanted: unset {POOL_VARIABLE}"
            ) from error
        if not self._cores or not self._line:
            self.close()
            raise CorePoolError(
                f"the pool {folder} holds {len(self._cores)} cores and a line of {len(self._line)} "
                f"places; at least 1 of each was wanted: unset {POOL_VARIABLE}"
            )
        self._heard = select.poll()
        self._heard.register(self._bell, select.POLLIN)

    @property
    def cores(self) -> int:
        """How many cores there are, taken or not."""
        return len(self._cores)

    def close(self) -> None:
        """Close the files; what is on loan is given back by it."""
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()

    @contextlib.contextmanager
    def borrow(self, sizes: Sequence[int], patience_s: float = PATIENCE_S) -> Iterator[Loan]:
        """Wait for a core, and give it back in the end.

        Whoever finds cores free at once gets as many as there are. Whoever had to wait for the
        first gets half of those that are free then, at least one: others want some, too, and two
        that run side by side on one core each get more done than one after the other on two.

        Args:
            sizes: The numbers of cores that are of use, 1 among them; the largest that is to be had
                is given.
            patience_s: How long to wait for the first core. The wait in line comes on top: those
                ahead have the same patience.
        """
        begun = time.monotonic()
        held: list[int] = []
        try:
            self._take(held, sizes, patience_s)
            yield Loan(len(held), time.monotonic() - begun)
        finally:
            if held:
                _unlock(held)
                self._ring()

    def _take(self, held: list[int], sizes: Sequence[int], patience_s: float) -> None:
        """Lock cores, and put them into `held` one by one."""
        at_once = self._stand_in_line()
        try:
            deadline = time.monotonic() + patience_s
            while True:
                # Before the look, so that no ring after the look is missed.
                self._silence()
                for core in self._cores:
                    if _try_lock(core):
                        held.append(core)
                if held:
                    break
                at_once = False
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return
                self._heard.poll(1000 * min(left_s, _LOOK_AGAIN_S))
            most = len(held) if at_once else (len(held) + 1) // 2
            keep = max(size for size in sizes if size <= most)
            # No ring: whoever comes to place 0 next will look.
            _unlock(held[keep:])
            del held[keep:]
        finally:
            _unlock(self._line[:1])

    def _stand_in_line(self) -> bool:
        """Go from the last place to the first; say whether nobody was ahead."""
        at_once = True
        behind: int | None = None
        try:
            for place in reversed(self._line):
                if not _try_lock(place):
                    at_once = False
                    fcntl.flock(place, fcntl.LOCK_EX)
                if behind is not None:
                    _unlock([behind])
                behind = place
        except BaseException:  # a signal's: nobody must stand there for ever
            _unlock(self._line)
            raise
        return at_once

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the pipe is full: it rings already
            os.write(self._bell, b"\a")

    def _silence(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell, _WHOLE_PIPE_BYTES)

    def _file(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._open.append(descriptor)
        return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
