"""The synchronous client."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TYPE_CHECKING

import tenacity

from thyroid_client._address import DEFAULT_ADDRESS
from thyroid_client._base import BaseClient, Exchange, check_iterable
from thyroid_client._retry import Attempts, means_not_ready, ready_arguments, retry_arguments
from thyroid_client._sources import ImageSource
from thyroid_client.errors import CallCancelled, ThyroidClientError
from thyroid_client.options import Limits, RetryPolicy, Timeouts, Tls
from thyroid_client.screening import Screening, ScreenResult
from thyroid_client.transport import Cancellation, RawAnswer, Transport

if TYPE_CHECKING:
    from typing_extensions import Self  # in `typing` from Python 3.11


class ThyroidClient(BaseClient):
    """Screens images on a Triton server; safe to share between threads.

        with ThyroidClient("localhost:8001") as client:
            screening = client.screen("neck.png")

    Args:
        address: `host:port`, `grpc://host:port`, or `grpcs://host:port` for TLS.
        timeouts: How long to wait for what.
        retry: How often to send again what failed by the server's or the network's doing.
        tls: Certificates; where given, the connection is encrypted.
        limits: How much at once.
        transport: Sends requests in place of gRPC, and is closed with the client.

    Raises:
        ValueError: The address or a certificate's file is not usable.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        tls: Tls | None = None,
        limits: Limits | None = None,
        transport: Transport | None = None,
    ) -> None:
        super().__init__(address, timeouts=timeouts, retry=retry, tls=tls, limits=limits)
        if transport is None:
            # Here and not above: gRPC takes longer to import than all the rest.
            from thyroid_client._grpc import GrpcTransport  # noqa: PLC0415

            transport = GrpcTransport(self._address, self._timeouts)
        self._transport: Transport = transport
        self._versions_lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Calls in flight fail with `ClientClosed`; a second call is none."""
        if not self._closed:
            self._closed = True
            self._transport.close()

    def screen(self, image: ImageSource) -> Screening:
        """Screen one image.

        Args:
            image: A path, the bytes of an encoded file, or an array: UINT8 [height, width] or
                [height, width, 3], or UINT16 [height, width].

        Raises:
            ThyroidClientError: See the tree in `thyroid_client.errors`.
        """
        return self._screen(image, Cancellation())

    def screen_many(
        self, images: Iterable[ImageSource], *, max_in_flight: int | None = None
    ) -> Generator[ScreenResult, None, None]:
        """Screen many images and yield each result as it comes, in the order of completion.

        One image that fails stops none of the others. The iterable is read in the caller's thread
        and never further ahead than `max_in_flight` images beyond those yielded, so it may be
        endless. Closing the generator, or leaving it, cancels what is in flight.

        Args:
            images: As `screen` takes them.
            max_in_flight: How many requests at once, from 1; by default the client's limit.

        Yields:
            One result per image, with its index and source.

        Raises:
            TypeError: One image was given in place of many.
            ValueError: `max_in_flight` is below 1.
        """
        check_iterable(images)
        self._check_open()
        return self._screen_many(iter(images), self._in_flight(max_in_flight))

    def is_ready(self) -> bool:
        """Tell whether the server says that it serves the screening.

        Raises:
            AccessDenied: The server does not say.
            TlsFailed: Client and server do not trust each other.
        """
        try:
            self._ask_ready(Attempts(self._timeouts.control_s))
        except ThyroidClientError as error:
            if means_not_ready(error):
                return False
            raise
        return True

    def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until the server says that it serves the screening.

        Args:
            timeout_s: How long at most.

        Raises:
            CallFailed: It does not; the error is that of the last time it was asked.
        """
        attempts = Attempts(timeout_s)
        tenacity.Retrying(**ready_arguments(attempts))(self._ask_ready, attempts)

    def model_versions(self) -> Mapping[str, str]:
        """Ask the server which version of each model it serves.

        Returns:
            The newest version's name by model, for each model of the contract.
        """
        self._check_open()
        return self._transport.model_versions(timeout_s=self._timeouts.control_s)

    def _ask_ready(self, attempts: Attempts) -> None:
        self._check_open()
        with attempts.one() as rest_s:
            timeout_s = min(self._timeouts.control_s, rest_s)
            if not self._transport.is_ready(timeout_s=timeout_s):
                raise self._not_ready()

    def _screen(self, image: ImageSource, cancellation: Cancellation) -> Screening:
        self._check_open()
        exchange = self._begin(image)
        retrying = tenacity.Retrying(
            **retry_arguments(self._retry, exchange.attempts),
            sleep=tenacity.sleep_using_event(cancellation.event),
        )
        with self._guarding(exchange):
            answer = retrying(self._attempt, exchange, cancellation)
        return self._finish(exchange, answer, self._versions_behind(answer))

    def _attempt(self, exchange: Exchange, cancellation: Cancellation) -> RawAnswer:
        self._check_open()
        if cancellation.event.is_set():
            raise CallCancelled("the call was cancelled before it was sent")
        with exchange.attempts.one() as timeout_s:
            return self._transport.infer(
                exchange.content, timeout_s=timeout_s, cancellation=cancellation
            )

    def _versions_behind(self, answer: RawAnswer) -> Mapping[str, str]:
        with self._versions_lock:
            known = self._versions.get(answer.model_version)
            if known is not None:
                return known
            try:
                return self._keep_versions(answer, self.model_versions())
            except ThyroidClientError as error:
                return self._keep_versions(answer, error)

    def _result(self, index: int, image: ImageSource, cancellation: Cancellation) -> ScreenResult:
        try:
            return ScreenResult(index, image, self._screen(image, cancellation), None)
        except ThyroidClientError as error:
            return ScreenResult(index, image, None, error)

    def _screen_many(
        self, images: Iterator[ImageSource], max_in_flight: int
    ) -> Generator[ScreenResult, None, None]:
        numbered = enumerate(images)
        cancellation = Cancellation()
        running: set[Future[ScreenResult]] = set()
        done: deque[Future[ScreenResult]] = deque()
        with ThreadPoolExecutor(max_in_flight, "thyroid-client") as pool:

            def fill() -> None:
                room = max_in_flight - len(running) - len(done)
                for index, image in itertools.islice(numbered, room):
                    running.add(pool.submit(self._result, index, image, cancellation))

            try:
                fill()
                while running or done:
                    if not done:
                        finished, still = wait(running, return_when=FIRST_COMPLETED)
                        done.extend(finished)
                        running.intersection_update(still)
                    result = done.popleft().result()
                    fill()  # before yielding: the server works on while the caller looks
                    yield result
            finally:
                cancellation.cancel()
                for future in running:
                    future.cancel()
