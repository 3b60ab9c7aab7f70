"""Starts one server and leaves nothing of it behind, whatever happens to whoever wanted it.

Run as a program by `thyroid_server.embedded`, with the standard library alone (`python -I`). A
process between the two is what makes the promise good when the wanting process is killed hard:
the operating system then closes the pipe to this one. The kernel's own way, a death signal by
prctl, would not do: it is tied to the thread that started the child, and reaches no stub.

On stdin comes one line of JSON, a `Task`. Then silence, until either the pipe closes, which ends
the server in good order, or an ABANDON byte comes, which kills it. On stdout goes one line: the
server's process id. The server's output goes to stderr. The exit code is the server's, or 128
plus the signal that ended it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TypedDict

ABANDON = b"k"
SHARED_MEMORY = Path("/dev/shm")
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_REAP_TIMEOUT_S = 5.0
_REAP_PAUSE_S = 0.01


class Task(TypedDict):
    """What to start, and what to clear away.

    Attributes:
        command: The server's program and arguments.
        environment: Its environment variables.
        current_folder: Where it runs.
        workspace: A folder to remove in the end.
        shm_prefix: What the name of each of its shared memory files begins with.
        stop_timeout_s: How long it may take to end by itself.
    """

    command: list[str]
    environment: dict[str, str]
    current_folder: str
    workspace: str
    shm_prefix: str
    stop_timeout_s: float


def kill_group(group: int) -> None:
    """Kill what is left of a process group, which may be nothing."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def remove_traces(workspace: str, shm_prefix: str) -> None:
    """Remove the files of a server that runs no more; some or all may be gone already."""
    for file in SHARED_MEMORY.glob(f"{shm_prefix}*"):
        file.unlink(missing_ok=True)
    shutil.rmtree(workspace, ignore_errors=True)


def main() -> int:
    """Do one task from start to end; returns the exit code."""
    # Unbuffered, so that a byte after the line stays in the pipe.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as control:
        line = control.readline()
    if not line:
        return 0  # whoever wanted a server is gone already
    task: Task = json.loads(line)
    # Orphaned stubs become children of this process, which can then wait for their end.
    on, unused = ctypes.c_ulong(1), ctypes.c_ulong(0)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, on, unused, unused, unused)
    wake_up, wake_up_sender = os.pipe()
    os.set_blocking(wake_up_sender, False)
    signal.set_wakeup_fd(wake_up_sender)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _wake_up)
    try:
        # A session of its own, so that no signal of a terminal reaches it, and a process group
        # that its stubs inherit.
        server = subprocess.Popen(
            task["command"],
            env=task["environment"],
            cwd=task["current_folder"],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            start_new_session=True,
        )
        try:
            os.write(sys.stdout.fileno(), b"%d\n" % server.pid)
            _watch(server, wake_up, task["stop_timeout_s"])
        finally:
            kill_group(server.pid)
            server.wait()
            _reap()
    finally:
        remove_traces(task["workspace"], task["shm_prefix"])
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def _wake_up(_number: int, _frame: FrameType | None) -> None:
    """Does nothing: that the signal was caught wakes up the watch."""


def _watch(server: subprocess.Popen[bytes], wake_up: int, stop_timeout_s: float) -> None:
    """Wait for the server's end, or for the word to end it, and then do so."""
    control = sys.stdin.fileno()
    deadline: float | None = None
    while server.poll() is None:
        left_s = None if deadline is None else deadline - time.monotonic()
        if left_s is not None and left_s <= 0:
            return
        readable = select.select([wake_up] if deadline else [wake_up, control], [], [], left_s)[0]
        # One byte for every signal caught: its number.
        signals = os.read(wake_up, select.PIPE_BUF) if wake_up in readable else b""
        asked = any(number != signal.SIGCHLD for number in signals)
        if control in readable:
            if os.read(control, 1) == ABANDON:
                return
            asked = True
        if asked and deadline is None:
            server.terminate()
            deadline = time.monotonic() + stop_timeout_s


def _reap() -> None:
    """Wait for every child, which all have been killed."""
    deadline = time.monotonic() + _REAP_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            time.sleep(_REAP_PAUSE_S)


if __name__ == "__main__":
    sys.exit(main())
