"""A gRPC client of the screening: `ThyroidClient`, `AsyncThyroidClient` and `thyroid-screen`.

    from thyroid_client import ThyroidClient

    with ThyroidClient("localhost:8001") as client:
        screening = client.screen("neck.png")
        print(screening.decision.label)
        if screening.malignancy is not None:
            print(screening.malignancy, screening.box, screening.morphology.height_to_width)

Research use only: not a medical device, not for diagnosis.
"""

from thyroid_client._sources import ImageSource
from thyroid_client.aio import AsyncThyroidClient
from thyroid_client.client import ThyroidClient
from thyroid_client.errors import (
    AccessDenied,
    AnswerError,
    CallCancelled,
    CallFailed,
    ClientClosed,
    ConnectionFailed,
    DeadlineExceeded,
    ImageRejected,
    ImageUnreadable,
    ModelNotFound,
    RequestRejected,
    ServerError,
    ServerOverloaded,
    ServerUnavailable,
    ThyroidClientError,
    TlsFailed,
)
from thyroid_client.options import Limits, RetryPolicy, Timeouts, Tls
from thyroid_client.screening import Box, Morphology, Screening, ScreenResult, Timings
from thyroid_client.transport import AsyncTransport, Cancellation, RawAnswer, RawTensor, Transport
from thyroid_pipeline.contract import Decision

__all__ = [
    "AccessDenied",
    "AnswerError",
    "AsyncThyroidClient",
    "AsyncTransport",
    "Box",
    "CallCancelled",
    "CallFailed",
    "Cancellation",
    "ClientClosed",
    "ConnectionFailed",
    "DeadlineExceeded",
    "Decision",
    "ImageRejected",
    "ImageSource",
    "ImageUnreadable",
    "Limits",
    "ModelNotFound",
    "Morphology",
    "RawAnswer",
    "RawTensor",
    "RequestRejected",
    "RetryPolicy",
    "ScreenResult",
    "Screening",
    "ServerError",
    "ServerOverloaded",
    "ServerUnavailable",
    "ThyroidClient",
    "ThyroidClientError",
    "Timeouts",
    "Timings",
    "Tls",
    "TlsFailed",
    "Transport",
]
