"""What the two gRPC transports share, and the synchronous one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import MAX_GRPC_MESSAGE_SIZE, InferenceServerClient, InferInput, InferResult
from tritonclient.utils import InferenceServerException

from thyroid_client._address import Address
from thyroid_client._failures import error_from_status
from thyroid_client.errors import CallCancelled, CallFailed, ServerError
from thyroid_client.options import Timeouts
from thyroid_client.transport import Cancellation, RawAnswer, RawTensor
from thyroid_pipeline import contract

# gRPC waits ever longer before it connects again, by default up to 2 minutes; a server that comes
# back is found within a second.
_RECONNECT_AFTER_MS = (100, 1000)
_KEEPALIVE_TIMEOUT_MS = 10_000


def channel_arguments(timeouts: Timeouts) -> list[tuple[str, int | str]]:
    """Return the arguments of a channel.

    They replace tritonclient's own, the message limits included, so these are set again.
    """
    return [
        ("grpc.max_send_message_length", MAX_GRPC_MESSAGE_SIZE),
        ("grpc.max_receive_message_length", MAX_GRPC_MESSAGE_SIZE),
        # A connection that a firewall has dropped in silence is found while there is time to try
        # again. Triton closes a connection after the fourth ping without an answer between them
        # (`--grpc-http2-max-ping-strikes`): at this pace a request ends before its third.
        ("grpc.keepalive_time_ms", max(30_000, int(timeouts.request_s * 500))),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 0),
        # In gRPC's core this is the time that one attempt to connect gets.
        ("grpc.min_reconnect_backoff_ms", int(timeouts.connect_s * 1000)),
        ("grpc.initial_reconnect_backoff_ms", _RECONNECT_AFTER_MS[0]),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_AFTER_MS[1]),
        # Clients share no connection, so that none inherits another's wait to reconnect.
        ("grpc.use_local_subchannel_pool", 1),
        # Patients' images go to the address that was given and not through a proxy that happens to
        # stand in the environment.
        ("grpc.enable_http_proxy", 0),
    ]


def channel_credentials(address: Address) -> Any:
    """Return gRPC's credentials for the address, None for plain text; ValueError on bad files."""
    if address.tls is None:
        return None
    roots, key, chain = address.tls.read()
    return grpc.ssl_channel_credentials(roots, key, chain)


def request_inputs(image: bytes) -> list[InferInput]:
    """Return the ensemble's input for one image."""
    tensor = contract.IMAGE
    infer_input = InferInput(tensor.name, [1, *tensor.shape], tensor.data_type.value)
    array = np.empty((1, *tensor.shape), tensor.data_type.numpy)
    array.flat[0] = image
    infer_input.set_data_from_numpy(array)
    return [infer_input]


def raw_answer(result: InferResult) -> RawAnswer:
    """Take an answer out of protobuf, unchecked."""
    response = result.get_response()
    contents = list(response.raw_output_contents)
    # A server that leaves a tensor's bytes out is caught where the bytes are counted.
    contents += [b""] * (len(response.outputs) - len(contents))
    return RawAnswer(
        model_name=response.model_name,
        model_version=response.model_version,
        tensors=tuple(
            RawTensor(output.name, output.datatype, tuple(output.shape), content)
            for output, content in zip(response.outputs, contents, strict=False)
        ),
    )


def newest(versions: list[str]) -> str:
    """Return the highest of a model's versions, which Triton serves by default."""
    return max(versions, key=lambda version: (len(version), version), default="")


@contextlib.contextmanager
def errors_of(address: Address, timeout_s: float) -> Iterator[None]:
    """Turn what tritonclient raises in the block into errors of this package."""
    try:
        yield
    except InferenceServerException as error:
        raise _translated(error, address, timeout_s) from error
    except ValueError as error:
        # grpc's word for a channel that was closed between two of our own steps.
        raise CallCancelled(f"the call to {address} was cancelled ({error})") from error


def _translated(error: InferenceServerException, address: Address, timeout_s: float) -> CallFailed:
    status = error.status()
    if status is None:
        return ServerError(f"{address} was not asked: {error.message()}")
    return error_from_status(
        status.removeprefix("StatusCode."), error.message() or "", str(address), timeout_s
    )


class GrpcTransport:
    """The real transport of `ThyroidClient`: Triton's gRPC protocol on one channel."""

    def __init__(self, address: Address, timeouts: Timeouts) -> None:
        self._address = address
        self._client = InferenceServerClient(
            address.target,
            creds=channel_credentials(address),
            channel_args=channel_arguments(timeouts),
        )

    def infer(self, image: bytes, *, timeout_s: float, cancellation: Cancellation) -> RawAnswer:
        """Send one image and wait for the answer."""
        outcome: Future[InferResult] = Future()

        def note(result: InferResult | None, error: Exception | None) -> None:
            if error is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(result)

        with errors_of(self._address, timeout_s):
            call = self._client.async_infer(
                contract.ENSEMBLE.name,
                request_inputs(image),
                note,
                client_timeout=timeout_s,
            )
            try:
                with cancellation.calling(call.cancel):
                    return raw_answer(outcome.result())
            except BaseException:
                # An interrupted caller no longer waits; the server need not work on.
                call.cancel()
                raise

    def is_ready(self, *, timeout_s: float) -> bool:
        """Ask whether the ensemble is ready; a server without it is not."""
        with errors_of(self._address, timeout_s):
            return bool(
                self._client.is_model_ready(contract.ENSEMBLE.name, client_timeout=timeout_s)
            )

    def model_versions(self, *, timeout_s: float) -> Mapping[str, str]:
        """Ask for the newest version of each model."""
        with errors_of(self._address, timeout_s):
            return {
                model.name: newest(
                    list(
                        self._client.get_model_metadata(
                            model.name, client_timeout=timeout_s
                        ).versions
                    )
                )
                for model in contract.MODELS
            }

    def close(self) -> None:
        """Close the channel; calls in flight end with `CallCancelled`."""
        self._client.close()
