"""A peer's server in a process group of its own: started, awaited, and ended for sure."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import psutil

from thyroid_benchmarks.peer_environment import PeerUnavailableError, tidy
from thyroid_benchmarks.peers import entry
from thyroid_benchmarks.peers.settings import HOST, MARKER, PeerSettings
from thyroid_pipeline import contract

START_TIMEOUT_S = 180.0
_POLL_S = 0.2
_TERM_S = 15.0
_KILL_S = 10.0
_LAST_BYTES = 600


class PeerProcess:
    """A running server.

    Attributes:
        port: Where it listens, at `peers.settings.HOST`.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path, port: int) -> None:
        self._process = process
        self._log = log
        self.port = port

    def wait_until_open(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until somebody listens at the port.

        Raises:
            PeerUnavailableError: It has ended, or takes too long.
        """
        deadline = time.monotonic() + timeout_s
        while not _listens(self.port):
            self.check()
            if time.monotonic() > deadline:
                raise PeerUnavailableError(
                    f"nobody listened after {timeout_s:g} s; it said: {self.last_words()}"
                )
            time.sleep(_POLL_S)

    def check(self) -> None:
        """See that it runs.

        Raises:
            PeerUnavailableError: It has ended.
        """
        if (code := self._process.poll()) is not None:
            raise PeerUnavailableError(
                f"its server ended with exit code {code}; it said: {self.last_words()}"
            )

    def last_words(self) -> str:
        """Return the end of what it has said."""
        text = self._log.read_bytes()[-_LAST_BYTES:].decode(errors="replace")
        return tidy(" ".join(text.split())) or "nothing"


@contextlib.contextmanager
def serving(
    python: Path,
    module: str,
    *,
    model_repository: Path,
    at_once: int,
    threads: int,
    batch: int,
    cropper: contract.CropperParameters,
    extra: Mapping[str, str] | None = None,
    term_s: float = _TERM_S,
) -> Iterator[PeerProcess]:
    """Run a peer's server.

    However it is left, no process of it remains, nor a file in its scratch folder. Should this
    process be killed, the server ends by itself (`peers.entry`).

    Args:
        python: The interpreter of its environment.
        module: With a function `main` that serves.
        model_repository: Where the ONNX files are.
        at_once: How many images are worked on at once.
        threads: Of ONNX Runtime for one network's run.
        batch: How many images it gathers at most; 1 for none.
        cropper: The cropper's parameters.
        extra: Environment variables of this peer.
        term_s: How long it may take to end when it is asked to.

    Raises:
        PeerUnavailableError: It does not start.
    """
    scratch = Path(tempfile.mkdtemp(prefix="thyroid-peer-"))
    token = secrets.token_hex(8)
    port = _free_port()
    settings = PeerSettings(
        model_repository=str(model_repository.resolve()),
        port=port,
        at_once=at_once,
        threads=threads,
        batch=batch,
        cropper=asdict(cropper),
        scratch=str(scratch),
    )
    log = scratch / "server.log"
    environment = {
        **_clean_environment(),
        **{name: value.format(scratch=scratch) for name, value in (extra or {}).items()},
        **settings.environment(),
        MARKER: token,
    }
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(python.absolute()), "-m", entry.__name__, module],
                env=environment,
                cwd=scratch,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            running = PeerProcess(process, log, port)
            running.wait_until_open()
            yield running
        finally:
            _end(process, token, term_s)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def processes_of(token: str) -> list[psutil.Process]:
    """Find the processes that carry a server's marker, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ended = process.status() == psutil.STATUS_ZOMBIE
            if not ended and process.environ().get(MARKER) == token:
                found.append(process)
    return found


def _end(process: subprocess.Popen[bytes], token: str, term_s: float) -> None:
    """Ask its first process to end, wait, and kill whatever is left."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(term_s)
    deadline = time.monotonic() + _KILL_S
    while (left := processes_of(token)) and time.monotonic() < deadline:
        for one in left:
            with contextlib.suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(left, timeout=1)
    process.wait(_KILL_S)
    if process.stdin is not None:
        process.stdin.close()


def _clean_environment() -> dict[str, str]:
    """Return this process's environment without what would bend another interpreter."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0
