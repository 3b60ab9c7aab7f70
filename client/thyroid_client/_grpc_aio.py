"""The asynchronous gRPC transport."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping

from tritonclient.grpc.aio import InferenceServerClient

from thyroid_client._address import Address
from thyroid_client._grpc import (
    channel_arguments,
    channel_credentials,
    errors_of,
    newest,
    raw_answer,
    request_inputs,
)
from thyroid_client.errors import CallCancelled
from thyroid_client.options import Timeouts
from thyroid_client.transport import RawAnswer
from thyroid_pipeline import contract


class AsyncGrpcTransport:
    """The real transport of `AsyncThyroidClient`, made inside the event loop that it serves."""

    def __init__(self, address: Address, timeouts: Timeouts) -> None:
        self._address = address
        self._closed = False
        self._client = InferenceServerClient(
            address.target,
            creds=channel_credentials(address),
            channel_args=channel_arguments(timeouts),
        )

    async def infer(self, image: bytes, *, timeout_s: float) -> RawAnswer:
        """Send one image and wait for the answer."""
        with self._errors(timeout_s):
            return raw_answer(
                await self._client.infer(
                    contract.ENSEMBLE.name, request_inputs(image), client_timeout=timeout_s
                )
            )

    async def is_ready(self, *, timeout_s: float) -> bool:
        """Ask whether the ensemble is ready; a server without it is not."""
        with self._errors(timeout_s):
            return bool(
                await self._client.is_model_ready(contract.ENSEMBLE.name, client_timeout=timeout_s)
            )

    async def model_versions(self, *, timeout_s: float) -> Mapping[str, str]:
        """Ask for the newest version of each model."""
        with self._errors(timeout_s):
            answers = await asyncio.gather(
                *(
                    self._client.get_model_metadata(model.name, client_timeout=timeout_s)
                    for model in contract.MODELS
                )
            )
        return {
            model.name: newest(list(answer.versions))
            for model, answer in zip(contract.MODELS, answers, strict=True)
        }

    async def close(self) -> None:
        """Close the channel; calls in flight end with `CallCancelled`."""
        self._closed = True
        await self._client.close()

    @contextlib.contextmanager
    def _errors(self, timeout_s: float) -> Iterator[None]:
        try:
            with errors_of(self._address, timeout_s):
                yield
        except asyncio.CancelledError:
            # A closing channel cancels its calls the way a cancelled task does; the task that
            # waits for one was not cancelled and must not die as if it were.
            if self._closed:
                raise CallCancelled(f"the call to {self._address} was cancelled") from None
            raise
