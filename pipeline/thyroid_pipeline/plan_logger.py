"""What TensorRT, or TensorRT for RTX, has to say while it builds or runs a plan."""

from __future__ import annotations

import functools
import re
from typing import Any


@functools.cache
def logger_of(trt: Any) -> Any:
    """The one logger of a library in this process; `messages` is what it has gathered.

    The library keeps the first logger that it is given, and speaks to that one whichever it is
    given later. It would write to standard error by itself.

    Args:
        trt: The runtime's module.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]  # trt is known at run time only
        """Gathers what the library says from warnings on, each with its severity in front."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # as its bindings want it of a subclass
            self.messages: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            """Called by the library."""
            if int(severity) <= int(trt.ILogger.WARNING):
                self.messages.append(f"{severity.name}: {msg.strip()}")

    return Logger()


def errors_among(messages: list[str]) -> str:
    """The errors that a logger gathered, as the end of a message."""
    errors = [message for message in messages if not message.startswith("WARNING")]
    return "; ".join(dict.fromkeys(errors)) or "it gave no reason"


def warnings_among(messages: list[str]) -> tuple[str, ...]:
    """The warnings that a logger gathered, each once."""
    found = (text for text in messages if text.startswith("WARNING: "))
    return tuple(dict.fromkeys(text.removeprefix("WARNING: ") for text in found))


def blames_missing_gpu(message: str) -> bool:
    """Whether a message of the library is about a GPU or a driver that is not there."""
    return re.search(r"cudaError (?:35|100)\b", message) is not None
