"""Who used the processor: this process, its descendants, a server, others."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from thyroid_benchmarks.machine import Meter, tree_cpu_s

BURN = """
import sys, time
print("ready", flush=True)
sys.stdin.readline()
end = time.process_time() + float(sys.argv[1])
while time.process_time() < end:
    pass
print("done", flush=True)
sys.stdin.readline()
"""
# Starts the burner in a session of its own and ends, so that nobody here is its parent.
ORPHAN = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[2], sys.argv[1]], start_new_session=True)
"""


@contextmanager
def burning(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.write("\n")


def burn(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    assert process.stdout.readline() == "done\n"


def test_descendants_count_while_they_run_and_when_they_have_ended() -> None:
    own = psutil.Process().pid
    before = tree_cpu_s([own])
    with burning([sys.executable, "-c", BURN, "0.5"]) as child:
        idle = tree_cpu_s([own])
        burn(child)
        running = tree_cpu_s([own, child.pid])  # counted once, although it is named twice
        assert running - idle == pytest.approx(0.5, abs=0.2)
    ended = tree_cpu_s([own])
    assert ended - before >= running - before - 0.05
    assert tree_cpu_s([2**22 + 1]) == 0


def test_others_are_those_who_are_neither_ours_nor_the_servers() -> None:
    """The same work as a stranger's, as a server's, and as a child's.

    How busy the machine is that runs the tests is not known: only the difference is.
    """
    with burning([sys.executable, "-c", ORPHAN, "1.0", BURN]) as stranger:
        pid = _pid_of(BURN)
        unknown, served = Meter(), Meter(pid)
        burn(stranger)
        assert unknown.shares().others > served.shares().others
    with burning([sys.executable, "-c", BURN, "1.0"]) as child:
        meter = Meter()
        began = time.perf_counter()
        burn(child)
        shares = meter.shares()
    # The child is what is served; the kernel counts by ticks of 10 ms.
    assert shares.served_s == pytest.approx(1.0, abs=0.1)
    cores = psutil.cpu_count() or 1
    burnt = 1.0 / (time.perf_counter() - began) / cores
    # What others used leaves room for what the child burnt: it is not among them.
    assert shares.others + burnt <= 1.1
    assert 0 <= shares.own <= 1
    assert 0 <= shares.stolen <= 1


def _pid_of(code: str) -> int:
    """The burner whose parent has ended, by its command line."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for process in psutil.process_iter(["cmdline", "ppid"]):
            command = process.info["cmdline"] or []
            if code in command and ORPHAN not in command:
                return int(process.pid)
    raise AssertionError("the burner was not found")
