"""Passes a server's log on as it comes, and remembers the end of it."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections import deque
from typing import IO

from thyroid_server.machine import has_gpu

_REMEMBERED_LINES = 400
_QUOTED_LINES = 30
_END_TIMEOUT_S = 5.0
_RECORD = re.compile(r"[EWI]\d{4} \d\d:\d\d:\d\d")
# What Triton says on a machine without a GPU, whatever its settings.
_WITHOUT_GPU = re.compile(
    r"CudaDriverHelper has not been initialized|CUDA memory pool disabled|pinned system memory"
    # Of the ensemble alone: what a model says of a missing driver has to be seen.
    r"|unable to create stream for \S+: CUDA driver version is insufficient"
)


class ServerLog:
    """Reads a pipe to its end in a thread of its own."""

    def __init__(self, pipe: IO[bytes], file: IO[str] | None, repository: tuple[str, str]) -> None:
        """Start to read.

        Args:
            pipe: What the server writes to; this closes it.
            file: Where to append what comes, closed in the end; None passes it to this process's
                stderr.
            repository: The model repository as the server sees it, and as it is called.
        """
        self._pipe = pipe
        self._file = file
        self._repository = repository
        self._lines: deque[str] = deque(maxlen=_REMEMBERED_LINES)
        self._thread = threading.Thread(target=self._read, name="triton-log", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until the pipe has come to its end; a stray process may keep it open for ever."""
        self._thread.join(_END_TIMEOUT_S)

    def last_words(self) -> str:
        """What matters at the end of the log: its errors, or else simply its last lines."""
        # Triton writes a message of several lines as one.
        lines = [part for line in self._lines for part in line.split("\\n")]
        return "\n".join((_errors(lines) or lines)[-_QUOTED_LINES:])

    def _read(self) -> None:
        with self._pipe, self._file or contextlib.nullcontext():
            for raw in self._pipe:
                line = raw.decode(errors="replace").replace(*self._repository)
                if _WITHOUT_GPU.search(line) and not has_gpu():
                    continue
                self._lines.append(line.rstrip())
                # A full disk or a closed stderr; the pipe must be read even so, or the server
                # would stand still.
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    sink = self._file or sys.stderr
                    sink.write(line)
                    sink.flush()


def _errors(lines: list[str]) -> list[str]:
    """The error records of a Triton log with their continuation lines, and bare errors."""
    chosen: list[str] = []
    inside = False
    for line in lines:
        if _RECORD.match(line):
            inside = line.startswith("E")
        if line and (inside or line.lower().startswith("error")):
            chosen.append(line)
    return chosen
