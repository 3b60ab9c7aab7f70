"""What the synchronous and the asynchronous client have in common: all but the waiting."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from thyroid_client._address import parse_address
from thyroid_client._answers import read_answer
from thyroid_client._retry import Attempts
from thyroid_client._sources import ImageSource, encoded_image
from thyroid_client.errors import (
    CallCancelled,
    ClientClosed,
    ServerUnavailable,
    ThyroidClientError,
)
from thyroid_client.options import Limits, RetryPolicy, Timeouts, Tls, check_in_flight
from thyroid_client.screening import Screening, Timings
from thyroid_client.transport import RawAnswer
from thyroid_pipeline import contract


@dataclass
class Exchange:
    """One image on its way to the server and back.

    Attributes:
        content: The encoded image.
        prepare_ms: How long it took to get it.
        attempts: To send it.
        started_s: When the exchange began, by `time.perf_counter`.
        round_trip_ms: How long it took; set when the answer has come.
    """

    content: bytes
    prepare_ms: float
    attempts: Attempts
    started_s: float = field(default_factory=time.perf_counter)
    round_trip_ms: float = 0.0


class BaseClient:
    """The options, the preparation of a request and the reading of its answer."""

    def __init__(
        self,
        address: str,
        *,
        timeouts: Timeouts | None,
        retry: RetryPolicy | None,
        tls: Tls | None,
        limits: Limits | None,
    ) -> None:
        self._address = parse_address(address, tls)
        self._timeouts = timeouts or Timeouts()
        self._retry = retry or RetryPolicy()
        self._limits = limits or Limits()
        self._closed = False
        # By the ensemble's version: what its models' versions are does not change under it.
        self._versions: dict[str, Mapping[str, str]] = {}

    @property
    def address(self) -> str:
        """Where the server is: grpc://host:port, or grpcs://host:port with TLS."""
        return str(self._address)

    @property
    def is_closed(self) -> bool:
        """Whether the client has been closed."""
        return self._closed

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("the client is closed: make a new one, or call before closing it")

    def _in_flight(self, asked: int | None) -> int:
        return self._limits.max_in_flight if asked is None else check_in_flight(asked)

    def _begin(self, image: ImageSource) -> Exchange:
        """Read or encode the image and start the clock."""
        started_s = time.perf_counter()
        content = encoded_image(image)
        prepare_ms = _ms_since(started_s)
        return Exchange(content, prepare_ms, Attempts(self._timeouts.request_s))

    @contextlib.contextmanager
    def _guarding(self, exchange: Exchange) -> Iterator[None]:
        """Tell an error of the exchange how often it was sent, and a closing from a cancelling."""
        try:
            yield
        except CallCancelled as error:
            if not self._closed:
                error.attempts = exchange.attempts.count
                raise
            closed = ClientClosed(
                "the client was closed while the request was in flight: close it after the answer",
                status=error.status,
                details=error.details,
            )
            closed.attempts = exchange.attempts.count
            raise closed from error
        except ThyroidClientError as error:
            error.attempts = exchange.attempts.count
            raise
        exchange.round_trip_ms = _ms_since(exchange.started_s)

    def _finish(
        self, exchange: Exchange, answer: RawAnswer, versions: Mapping[str, str]
    ) -> Screening:
        """Read the answer."""
        started_s = time.perf_counter()
        findings = read_answer(answer)
        timings = Timings(
            prepare_ms=exchange.prepare_ms,
            round_trip_ms=exchange.round_trip_ms,
            read_ms=_ms_since(started_s),
            attempts=exchange.attempts.count,
        )
        return Screening(
            decision=findings.decision,
            nodule_found=findings.nodule_found,
            malignancy=findings.malignancy,
            forest_malignancy=findings.forest_malignancy,
            ood_score=findings.ood_score,
            mask=findings.mask,
            box=findings.box,
            morphology=findings.morphology,
            evidence=findings.evidence,
            model_versions=versions,
            timings=timings,
        )

    def _keep_versions(
        self, answer: RawAnswer, asked: Mapping[str, str] | ThyroidClientError
    ) -> Mapping[str, str]:
        """Merge what the server says of its models with what the answer says of the ensemble."""
        told = {} if isinstance(asked, ThyroidClientError) else asked
        versions = {**told, contract.ENSEMBLE.name: answer.model_version}
        # A server that keeps its versions to itself is asked once, one that was busy again.
        if not isinstance(asked, ThyroidClientError) or not asked.retriable:
            self._versions[answer.model_version] = versions
        return versions

    def _not_ready(self) -> ServerUnavailable:
        return ServerUnavailable(
            f"{self._address} answers, but `{contract.ENSEMBLE.name}` is not ready: wait until its "
            "models are loaded, and see the server's log if it lasts"
        )


def check_iterable(images: object) -> None:
    """Refuse one image where several are wanted: a path would be taken for its letters."""
    if isinstance(images, (str, os.PathLike, bytes, bytearray, memoryview, np.ndarray)):
        raise TypeError(
            f"{type(images).__name__} came, an iterable of images was wanted: call `screen` for "
            "one image, or give a list"
        )


def _ms_since(started_s: float) -> float:
    return (time.perf_counter() - started_s) * 1000
