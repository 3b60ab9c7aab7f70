# ruff: noqa: N818 - the names say what happened; that it is an error, the base class says.
"""Everything that the client raises, as one tree.

    ThyroidClientError
    ├── ImageUnreadable         the image could not be sent: no such file, empty, too large …
    ├── ClientClosed            the client was closed before or during the call
    ├── CallFailed              the server, or the way to it, gave no answer
    │   ├── ConnectionFailed    nobody answers at the address, or the connection broke   (retried)
    │   │   └── TlsFailed       the two sides do not trust each other
    │   ├── ServerUnavailable   the server is starting, stopping or not ready            (retried)
    │   │   └── ServerOverloaded  its queue is full, or the request waited too long      (retried)
    │   ├── ModelNotFound       the server does not serve the screening
    │   ├── AccessDenied        the server wants a credential that was not given
    │   ├── DeadlineExceeded    the time for the request is over
    │   ├── CallCancelled       the call was cancelled
    │   ├── RequestRejected     the server does not accept the request's form
    │   │   └── ImageRejected   the server cannot screen this image
    │   └── ServerError         the server failed
    └── AnswerError             the server answered something that is no screening

`ThyroidClientError` catches all of them. Wrong arguments (an address that is none, a negative
time-out) are `ValueError`, raised when the client is made.
"""

from __future__ import annotations

from typing import ClassVar


class ThyroidClientError(Exception):
    """The base of every error of the client.

    Attributes:
        status: The gRPC status' name, such as "UNAVAILABLE"; None where no call was made.
        details: The message as the server or gRPC gave it; empty where no call was made.
        attempts: How often the request was sent.
        retriable: Whether the same request may be answered a moment later. The client itself
            retries these, see `RetryPolicy`.
    """

    retriable: ClassVar[bool] = False

    def __init__(self, message: str, *, status: str | None = None, details: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.details = details
        self.attempts = 0

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are rebuilt from their positional arguments: results cross process borders.
        return type(self), self.args, self.__dict__

    @property
    def kind(self) -> str:
        """The error's name as `results.jsonl` writes it: that of its class."""
        return type(self).__name__


class ImageUnreadable(ThyroidClientError):
    """The image could not be sent: no such file, empty, too large, or no image by its type."""


class ClientClosed(ThyroidClientError):
    """The client was closed before or during the call."""


class CallFailed(ThyroidClientError):
    """The server, or the way to it, gave no answer."""


class ConnectionFailed(CallFailed):
    """Nobody answers at the address, or the connection broke."""

    retriable = True


class TlsFailed(ConnectionFailed):
    """Client and server do not trust each other. Trying again does not mend it."""

    retriable = False


class ServerUnavailable(CallFailed):
    """The server is there but does not serve: it is starting or stopping, or not ready."""

    retriable = True


class ServerOverloaded(ServerUnavailable):
    """The server's queue is full, or the request waited in it for too long."""


class ModelNotFound(CallFailed):
    """The server does not serve the screening."""


class AccessDenied(CallFailed):
    """The server wants a credential that was not given, or refuses the one that was."""


class DeadlineExceeded(CallFailed):
    """The time for the request is over."""


class CallCancelled(CallFailed):
    """The call was cancelled, by this side or by the server."""


class RequestRejected(CallFailed):
    """The server does not accept the request's form: client and server do not fit together."""


class ImageRejected(RequestRejected):
    """The server cannot screen this image; the message is the server's and says why."""


class ServerError(CallFailed):
    """The server failed on a request that was in order."""


class AnswerError(ThyroidClientError):
    """The server answered something that is no screening by the contract."""
