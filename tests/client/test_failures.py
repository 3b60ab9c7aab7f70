"""gRPC statuses and Triton's words for them, each to the error it means."""

from __future__ import annotations

import pytest

from thyroid_client import errors
from thyroid_client._failures import error_from_status

REFUSED = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:9: "
    "Failed to connect to remote host: connect: Connection refused (111)"
)

CASES = [
    ("UNAVAILABLE", REFUSED, errors.ConnectionFailed, True),
    ("UNAVAILABLE", "Socket closed", errors.ConnectionFailed, True),
    ("UNAVAILABLE", "keepalive watchdog timeout", errors.ConnectionFailed, True),
    ("UNAVAILABLE", "recvmsg:Connection reset by peer", errors.ConnectionFailed, True),
    ("UNAVAILABLE", "DNS resolution failed for nowhere:8001", errors.ConnectionFailed, True),
    (
        "UNAVAILABLE",
        "errors resolving nowhere:8001: [address lookup failed for nowhere:8001: Domain name not "
        "found]",
        errors.ConnectionFailed,
        True,
    ),
    (
        "UNAVAILABLE",
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:9: Ssl handshake "
        "failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: CERTIFICATE_VERIFY_FAILED",
        errors.TlsFailed,
        False,
    ),
    ("UNAVAILABLE", "Server is stopping", errors.ServerUnavailable, True),
    ("UNAVAILABLE", "", errors.ServerUnavailable, True),
    ("UNAVAILABLE", "Exceeds maximum queue size", errors.ServerOverloaded, True),
    (
        "UNAVAILABLE",
        "in ensemble 'thyroid_screening', Request timeout expired",
        errors.ServerOverloaded,
        True,
    ),
    (
        "UNAVAILABLE",
        "This protocol is restricted, expecting header 'triton-grpc-protocol-key'",
        errors.AccessDenied,
        False,
    ),
    ("UNAUTHENTICATED", "no token", errors.AccessDenied, False),
    ("PERMISSION_DENIED", "not you", errors.AccessDenied, False),
    (
        "NOT_FOUND",
        "Request for unknown model: 'thyroid_screening' is not found",
        errors.ModelNotFound,
        False,
    ),
    (
        "NOT_FOUND",
        "Request for unknown model: 'thyroid_screening' has no available versions",
        errors.ServerUnavailable,
        True,
    ),
    (
        "INVALID_ARGUMENT",
        "in ensemble 'thyroid_screening', the image is empty (0 bytes)",
        errors.ImageRejected,
        False,
    ),
    (
        "INVALID_ARGUMENT",
        "[request id: <id_unknown>] unexpected shape for input 'image'",
        errors.RequestRejected,
        False,
    ),
    (
        "INVALID_ARGUMENT",
        "in ensemble 'thyroid_screening', [request id: 7] unexpected shape for input 'frame'",
        errors.RequestRejected,
        False,
    ),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded", errors.DeadlineExceeded, False),
    ("CANCELLED", "Locally cancelled by application!", errors.CallCancelled, False),
    (
        "RESOURCE_EXHAUSTED",
        "CLIENT: Received message larger than max (9 vs. 4)",
        errors.RequestRejected,
        False,
    ),
    ("RESOURCE_EXHAUSTED", "memory", errors.ServerOverloaded, True),
    ("UNIMPLEMENTED", "Method not found!", errors.ServerError, False),
    (
        "INTERNAL",
        "in ensemble 'thyroid_screening', Stub process 'roi_cropper_0' is not healthy.",
        errors.ServerError,
        False,
    ),
    ("UNKNOWN", "Exception calling application", errors.ServerError, False),
    ("DATA_LOSS", "", errors.ServerError, False),
]


@pytest.mark.parametrize(("status", "details", "kind", "retriable"), CASES)
def test_each_status_has_its_error(
    status: str, details: str, kind: type[errors.CallFailed], retriable: bool
) -> None:
    error = error_from_status(status, details, "grpc://host:8001", 2.0)
    assert type(error) is kind
    assert error.retriable is retriable
    assert error.status == status
    assert error.details == details
    if kind is not errors.ImageRejected:
        assert "grpc://host:8001" in str(error)
    assert "in ensemble" not in str(error)
    assert "request id" not in str(error)


def test_a_rejected_image_speaks_with_the_servers_words_alone() -> None:
    error = error_from_status(
        "INVALID_ARGUMENT",
        "in ensemble 'thyroid_screening', the image is empty (0 bytes): send one",
        "grpc://host:8001",
        2.0,
    )
    assert str(error) == "the image is empty (0 bytes): send one"


def test_a_deadline_names_the_time_that_was_given() -> None:
    error = error_from_status("DEADLINE_EXCEEDED", "", "grpc://host:8001", 1.5)
    assert "did not answer within 1.5 s" in str(error)


def test_of_many_addresses_tried_the_last_cause_is_told() -> None:
    error = error_from_status("UNAVAILABLE", REFUSED, "grpc://host:8001", 1.0)
    assert "Connection refused" in str(error)
    assert "last error" not in str(error)
