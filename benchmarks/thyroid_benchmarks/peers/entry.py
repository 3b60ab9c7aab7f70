"""Starts a peer's server and stands by it: `python -m thyroid_benchmarks.peers.entry MODULE`.

However the benchmark ends, even if it is killed, no process of the server remains: the standard
input is a pipe that only the benchmark holds open, and when it closes, everything that carries this
server's marker is ended. Some frameworks' workers outlive their parent, or leave its session.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from thyroid_benchmarks.peers.settings import MARKER, PeerSettings

_GRACE_S = 10.0
_POLL_S = 0.1


def main(module: str) -> int:
    """Run a server to its end; return its exit code.

    Args:
        module: With a function `main` that serves.
    """
    code = f"import importlib; importlib.import_module({module!r}).main()"
    server = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    alone = threading.Event()
    watch = threading.Thread(target=_end_with_the_benchmark, args=(server, alone), daemon=True)
    watch.start()
    exit_code = server.wait()
    if alone.is_set():
        watch.join()
    return exit_code


def _end_with_the_benchmark(server: subprocess.Popen[bytes], alone: threading.Event) -> None:
    # The descriptor and not `sys.stdin`, whose lock would be held while the interpreter ends.
    while os.read(0, 4096):
        pass
    alone.set()
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(_GRACE_S)
    deadline = time.monotonic() + _GRACE_S
    while (left := _others_of_this_server()) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S)
    shutil.rmtree(PeerSettings.from_environment().scratch, ignore_errors=True)


def _others_of_this_server() -> list[int]:
    """Find the processes that carry this one's marker. An environment need not have psutil."""
    marker = f"{MARKER}={os.environ[MARKER]}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # Of a process that has ended but was not waited for it is empty.
            if marker in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return [pid for pid in found if pid != os.getpid()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
