"""A server process under the eyes of its guardian."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import IO

import psutil

from thyroid_server import guardian
from thyroid_server.errors import StartError
from thyroid_server.server_log import ServerLog
from thyroid_server.wheel import STUB_NAME

_MARGIN_S = 15.0  # beyond the server's own time to stop: to kill, reap and clear away


class GuardedServer:
    """Starts a guardian, which starts the server.

    Attributes:
        pid: Of the server.
        log: What the server, its stubs and the guardian say.
    """

    def __init__(
        self, task: guardian.Task, log_file: Path | None, repository: tuple[str, str]
    ) -> None:
        """Start both.

        Args:
            task: What the guardian is to do.
            log_file: As in `ServerSettings`.
            repository: The model repository as the server sees it, and as it is called.

        Raises:
            StartError: The server's program did not start.
        """
        self._task = task
        log = None if log_file is None else log_file.open("a", encoding="utf-8")
        self._process = subprocess.Popen(
            # Isolated: it needs the standard library alone, and no module of the current folder.
            [sys.executable, "-I", guardian.__file__],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._control, self._answers, messages = _pipes(self._process)
        self.log = ServerLog(messages, log, repository)
        self._server: psutil.Process | None = None
        self._stubs: list[psutil.Process] = []
        try:
            self.pid = self._hand_over()
            with contextlib.suppress(psutil.NoSuchProcess):  # `how_it_ended` will tell
                self._server = psutil.Process(self.pid)
        except BaseException:
            self.end(abandon=True)
            raise

    def note_stubs(self) -> None:
        """Remember the processes of the Python models, to notice when one is lost."""
        if self._server is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                children = self._server.children(recursive=True)
                self._stubs = [child for child in children if _is_stub(child)]

    def how_it_ended(self) -> str | None:
        """How the server ended, with its last words; None while it runs."""
        if self._process.poll() is None:
            if self._server is None or _runs(self._server):
                return None
            # The server has died just now, and the guardian is clearing away.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_MARGIN_S)
        code = self._process.returncode
        if code is not None and code < 0:
            return "the process that guards the server was killed"
        self.log.finish()
        return f"the server ended with exit code {code}; it said:\n{self.log.last_words()}"

    def lost_stubs(self) -> list[int]:
        """The process ids of the remembered stubs that run no more."""
        return [stub.pid for stub in self._stubs if not _runs(stub)]

    def end(self, *, abandon: bool) -> None:
        """End the server, and wait until nothing is left of it.

        Args:
            abandon: Kill it at once, rather than let it end by itself.
        """
        self._close(guardian.ABANDON if abandon else b"")
        try:
            self._process.wait(self._task["stop_timeout_s"] + _MARGIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.returncode < 0:
            # The guardian was killed and could not clear away. The group is the server's as
            # long as one of its processes lives.
            ours = [self._server] if self._server is not None else []
            if any(process.is_running() for process in [*ours, *self._stubs]):
                guardian.kill_group(self.pid)
            guardian.remove_traces(self._task["workspace"], self._task["shm_prefix"])
        self.log.finish()

    def _hand_over(self) -> int:
        """Give the guardian its task; returns the server's process id."""
        with contextlib.suppress(BrokenPipeError):
            self._control.write(json.dumps(self._task).encode() + b"\n")
            self._control.flush()
        with self._answers:
            answer = self._answers.readline()
        if not answer:
            self.log.finish()
            raise StartError(f"the server did not start:\n{self.log.last_words()}")
        return int(answer)

    def _close(self, last_word: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._control.write(last_word)
        with contextlib.suppress(BrokenPipeError):
            self._control.close()


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdin, process.stdout, process.stderr


def _is_stub(process: psutil.Process) -> bool:
    try:
        return Path(process.cmdline()[0]).name == STUB_NAME
    except (psutil.NoSuchProcess, IndexError):
        return False


def _runs(process: psutil.Process) -> bool:
    """Whether a process runs; one that has died but was not waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
