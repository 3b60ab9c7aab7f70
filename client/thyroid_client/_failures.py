"""From a gRPC status and its message to the error that it means.

Triton's codes alone do not tell enough: a restricted API, a full queue and a refused connection all
come as UNAVAILABLE. The words of the message tell them apart.
"""

from __future__ import annotations

import re

from thyroid_client import errors
from thyroid_pipeline import contract

# What Triton puts before the message of a step that failed, and before one of its own checks.
_ENSEMBLE = re.compile(r"^in ensemble '[^']*', ")
_REQUEST_ID = re.compile(r"^\[request id: [^\]]*\] ")

_RESTRICTED = re.compile(r"protocol is restricted", re.IGNORECASE)
_OVERLOADED = re.compile(r"exceeds maximum queue size|request timeout expired", re.IGNORECASE)
_STOPPING = re.compile(r"has no available versions", re.IGNORECASE)
_TOO_LARGE = re.compile(r"message (?:is )?larger than max", re.IGNORECASE)
_TLS = re.compile(r"handshake|certificate|\bSSL\b|\bTLS\b|tsi_", re.IGNORECASE)
_CONNECTION = re.compile(
    r"failed to connect|connection (?:refused|reset|timed out|aborted)|socket closed|broken pipe"
    r"|no route to host|network is unreachable|resolution|resolv(?:e|ing)|keepalive"
    r"|ping timeout|goaway|transport (?:is )?clos|endpoint clos|stream removed"
    r"|recvmsg|sendmsg|end of tcp stream",
    re.IGNORECASE,
)


def error_from_status(
    status: str, details: str, address: str, timeout_s: float
) -> errors.CallFailed:
    """Name the error behind a failed call.

    Args:
        status: The gRPC status' name, such as "UNAVAILABLE".
        details: The message that came with it.
        address: Where the call went, for the message.
        timeout_s: How long the call was allowed to take, for the message.

    Returns:
        The error, not raised.
    """
    if status == "DEADLINE_EXCEEDED":
        kind: type[errors.CallFailed] = errors.DeadlineExceeded
        message = (
            f"{address} did not answer within {timeout_s:.3g} s: allow more in `Timeouts`, send "
            "fewer requests at once, or see what the server is busy with"
        )
    else:
        kind, message = _judge(status, details, address)
    return kind(message, status=status, details=details)


def _judge(status: str, details: str, address: str) -> tuple[type[errors.CallFailed], str]:
    if status == "UNAVAILABLE":
        return _judge_unavailable(details, address)
    if status == "INVALID_ARGUMENT":
        return _judge_invalid(details, address)
    if status == "NOT_FOUND":
        return _judge_not_found(details, address)
    if status in {"UNAUTHENTICATED", "PERMISSION_DENIED"}:
        return _denied(details, address)
    if status == "CANCELLED":
        return errors.CallCancelled, f"the call to {address} was cancelled"
    if status == "RESOURCE_EXHAUSTED":
        return _judge_exhausted(details, address)
    if status == "UNIMPLEMENTED":
        return errors.ServerError, (
            f"{address} speaks gRPC but does not know the call ({_tidy(details)}); a Triton "
            "Inference Server was wanted: check the address and the port"
        )
    return errors.ServerError, (
        f"{address} failed with {status}: {_tidy(details)}. The request was in order: see the "
        "server's log"
    )


def _judge_unavailable(details: str, address: str) -> tuple[type[errors.CallFailed], str]:
    if _RESTRICTED.search(details):
        return _denied(details, address)
    if _OVERLOADED.search(details):
        return errors.ServerOverloaded, (
            f"{address} has more requests than it can serve ({_tidy(details)}): keep fewer in "
            "flight, or give the server more instances or a longer queue"
        )
    if _TLS.search(details):
        return errors.TlsFailed, (
            f"no trusted connection to {address} ({_last_cause(details)}): give the certificate of "
            "the authority that signed the server's, and a client certificate where the server "
            "asks for one; check that the server speaks TLS and under this name"
        )
    if _CONNECTION.search(details):
        return errors.ConnectionFailed, (
            f"cannot reach {address} ({_last_cause(details)}): check that the server runs, the "
            "address and the gRPC port, and whether it speaks TLS (then write grpcs://)"
        )
    return errors.ServerUnavailable, (
        f"{address} is not able to serve at the moment ({_tidy(details)}): try again, and see the "
        "server's log if it lasts"
    )


def _judge_invalid(details: str, address: str) -> tuple[type[errors.CallFailed], str]:
    stepless = _ENSEMBLE.sub("", details)
    # A step's own words are about the image. Triton's own checks carry a request id.
    if stepless != details and not _REQUEST_ID.match(stepless):
        return errors.ImageRejected, stepless
    return errors.RequestRejected, (
        f"{address} does not accept the request ({_tidy(details)}): client and server do not fit "
        "together, update the older one"
    )


def _judge_not_found(details: str, address: str) -> tuple[type[errors.CallFailed], str]:
    if _STOPPING.search(details):
        return errors.ServerUnavailable, (
            f"{address} is loading or unloading the screening ({_tidy(details)}): try again, and "
            "see the server's log if it lasts"
        )
    return errors.ModelNotFound, (
        f"{address} does not serve `{contract.ENSEMBLE.name}` ({_tidy(details)}): check the "
        "address, and that the server was started on this project's model repository"
    )


def _judge_exhausted(details: str, address: str) -> tuple[type[errors.CallFailed], str]:
    if _TOO_LARGE.search(details):
        return errors.RequestRejected, (
            f"a message to or from {address} is larger than one side accepts ({_tidy(details)}): "
            "raise the limit of the server or of the proxy before it"
        )
    return errors.ServerOverloaded, (
        f"{address} has run out of a resource ({_tidy(details)}): keep fewer requests in flight"
    )


def _denied(details: str, address: str) -> tuple[type[errors.CallFailed], str]:
    return errors.AccessDenied, (
        f"{address} refuses access ({_tidy(details)}): ask whoever runs the server which "
        "credential it wants"
    )


def _tidy(details: str) -> str:
    """Strip what Triton puts before a message; give an empty one words."""
    return _REQUEST_ID.sub("", _ENSEMBLE.sub("", details)).strip().rstrip(".") or "no message"


def _last_cause(details: str) -> str:
    """Shorten gRPC's list of every address tried to the last cause."""
    return _tidy(details.rsplit("last error:", maxsplit=1)[-1])
