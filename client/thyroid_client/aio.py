"""The asynchronous client: the twin of `thyroid_client.client`."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from types import TracebackType
from typing import TYPE_CHECKING, cast

import tenacity

from thyroid_client._address import DEFAULT_ADDRESS
from thyroid_client._base import BaseClient, Exchange, check_iterable
from thyroid_client._retry import Attempts, means_not_ready, ready_arguments, retry_arguments
from thyroid_client._sources import ImageSource
from thyroid_client.errors import ThyroidClientError
from thyroid_client.options import Limits, RetryPolicy, Timeouts, Tls
from thyroid_client.screening import Screening, ScreenResult
from thyroid_client.transport import AsyncTransport, RawAnswer

if TYPE_CHECKING:
    from typing_extensions import Self  # in `typing` from Python 3.11

_END = object()


class AsyncThyroidClient(BaseClient):
    """Screens images on a Triton server, for one asyncio event loop.

        async with AsyncThyroidClient("localhost:8001") as client:
            screening = await client.screen("neck.png")

    Files are read, and arrays and masks coded, in threads, so that the loop is never held up.

    Args:
        address: `host:port`, `grpc://host:port`, or `grpcs://host:port` for TLS.
        timeouts: How long to wait for what.
        retry: How often to send again what failed by the server's or the network's doing.
        tls: Certificates; where given, the connection is encrypted.
        limits: How much at once.
        transport: Sends requests in place of gRPC, and is closed with the client.

    Raises:
        ValueError: The address is not usable; or, at the first call, a certificate's file.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        tls: Tls | None = None,
        limits: Limits | None = None,
        transport: AsyncTransport | None = None,
    ) -> None:
        super().__init__(address, timeouts=timeouts, retry=retry, tls=tls, limits=limits)
        self._given_transport = transport
        self._versions_lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection. Calls in flight fail with `ClientClosed`; a second call is none."""
        if not self._closed:
            self._closed = True
            if self._given_transport is not None:
                await self._given_transport.close()

    async def screen(self, image: ImageSource) -> Screening:
        """Screen one image. Cancelling the task cancels the request.

        Args:
            image: A path, the bytes of an encoded file, or an array: UINT8 [height, width] or
                [height, width, 3], or UINT16 [height, width].

        Raises:
            ThyroidClientError: See the tree in `thyroid_client.errors`.
        """
        self._check_open()
        exchange = await asyncio.to_thread(self._begin, image)
        retrying = tenacity.AsyncRetrying(**retry_arguments(self._retry, exchange.attempts))
        with self._guarding(exchange):
            answer: RawAnswer = await retrying(self._attempt, exchange)
        versions = await self._versions_behind(answer)
        return await asyncio.to_thread(self._finish, exchange, answer, versions)

    def screen_many(
        self,
        images: Iterable[ImageSource] | AsyncIterable[ImageSource],
        *,
        max_in_flight: int | None = None,
    ) -> AsyncGenerator[ScreenResult, None]:
        """Screen many images and yield each result as it comes, in the order of completion.

        One image that fails stops none of the others. The iterable is never read further ahead than
        `max_in_flight` images beyond those yielded, so it may be endless. Closing the generator
        cancels what is in flight; who may leave the loop early does so inside
        `contextlib.aclosing`.

        Args:
            images: As `screen` takes them. Results do not wait for a slow asynchronous iterable; a
                plain one is read in the event loop.
            max_in_flight: How many requests at once, from 1; by default the client's limit.

        Yields:
            One result per image, with its index and source.

        Raises:
            TypeError: One image was given in place of many.
            ValueError: `max_in_flight` is below 1.
        """
        check_iterable(images)
        self._check_open()
        iterator = aiter(images) if isinstance(images, AsyncIterable) else iter(images)
        return self._screen_many(iterator, self._in_flight(max_in_flight))

    async def is_ready(self) -> bool:
        """Tell whether the server says that it serves the screening.

        Raises:
            AccessDenied: The server does not say.
            TlsFailed: Client and server do not trust each other.
        """
        try:
            await self._ask_ready(Attempts(self._timeouts.control_s))
        except ThyroidClientError as error:
            if means_not_ready(error):
                return False
            raise
        return True

    async def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until the server says that it serves the screening.

        Args:
            timeout_s: How long at most.

        Raises:
            CallFailed: It does not; the error is that of the last time it was asked.
        """
        attempts = Attempts(timeout_s)
        await tenacity.AsyncRetrying(**ready_arguments(attempts))(self._ask_ready, attempts)

    async def model_versions(self) -> Mapping[str, str]:
        """Ask the server which version of each model it serves.

        Returns:
            The newest version's name by model, for each model of the contract.
        """
        self._check_open()
        return await self._transport().model_versions(timeout_s=self._timeouts.control_s)

    def _transport(self) -> AsyncTransport:
        """Return the transport; a gRPC channel belongs to the event loop that it is made in."""
        if self._given_transport is None:
            # Here and not above: gRPC takes longer to import than all the rest.
            from thyroid_client._grpc_aio import AsyncGrpcTransport  # noqa: PLC0415

            self._given_transport = AsyncGrpcTransport(self._address, self._timeouts)
        return self._given_transport

    async def _ask_ready(self, attempts: Attempts) -> None:
        self._check_open()
        with attempts.one() as rest_s:
            timeout_s = min(self._timeouts.control_s, rest_s)
            if not await self._transport().is_ready(timeout_s=timeout_s):
                raise self._not_ready()

    async def _attempt(self, exchange: Exchange) -> RawAnswer:
        self._check_open()
        with exchange.attempts.one() as timeout_s:
            return await self._transport().infer(exchange.content, timeout_s=timeout_s)

    async def _versions_behind(self, answer: RawAnswer) -> Mapping[str, str]:
        async with self._versions_lock:
            known = self._versions.get(answer.model_version)
            if known is not None:
                return known
            try:
                return self._keep_versions(answer, await self.model_versions())
            except ThyroidClientError as error:
                return self._keep_versions(answer, error)

    async def _result(self, index: int, image: ImageSource) -> ScreenResult:
        try:
            return ScreenResult(index, image, await self.screen(image), None)
        except ThyroidClientError as error:
            return ScreenResult(index, image, None, error)

    async def _screen_many(
        self, images: Iterator[ImageSource] | AsyncIterator[ImageSource], max_in_flight: int
    ) -> AsyncGenerator[ScreenResult, None]:
        results: asyncio.Queue[ScreenResult | None] = asyncio.Queue()
        room = asyncio.Semaphore(max_in_flight)  # for images that are read and not yet yielded
        numbered = _numbered(images)
        one_reads = asyncio.Lock()

        async def work() -> None:
            while True:
                await room.acquire()
                async with one_reads:
                    index, image = await numbered()
                if image is _END:
                    room.release()
                    return
                results.put_nowait(await self._result(index, cast("ImageSource", image)))

        workers = [asyncio.create_task(work()) for _ in range(max_in_flight)]
        all_work = asyncio.gather(*workers)
        all_work.add_done_callback(lambda _: results.put_nowait(None))
        try:
            while (result := await results.get()) is not None:
                room.release()  # before yielding: the server works on while the caller looks
                yield result
            await all_work  # raises what the iterable raised
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


def _numbered(
    images: Iterator[ImageSource] | AsyncIterator[ImageSource],
) -> Callable[[], Awaitable[tuple[int, object]]]:
    """Return a function that reads the next image with its index, `_END` after the last."""
    indices = itertools.count()

    async def read() -> tuple[int, object]:
        if isinstance(images, AsyncIterator):
            return next(indices), await anext(images, _END)
        return next(indices), next(images, _END)

    return read
