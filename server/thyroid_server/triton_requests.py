"""Triton's requests and responses on both sides of a network, for our Python-based backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from thyroid_server.request_batches import Failure, Job, Network, Tensors, answer_all


class Log(Protocol):
    """Triton's log, as its Python backend gives it to models."""

    def log_info(self, message: str) -> None:
        """Write what is good to know."""

    def log_warn(self, message: str) -> None:
        """Write what somebody should look at."""


def answer_requests(model: Network, requests: Sequence[Any], pb_utils: Any) -> list[Any]:
    """Answer what Triton hands to `execute`; never raises, see `answer_all`.

    Args:
        model: What to run.
        requests: Triton's.
        pb_utils: Triton's module of that name, which is in its Python stubs alone.

    Returns:
        One `InferenceResponse` for each request, in their order.
    """

    def respond(outputs: Tensors) -> Any:
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, array) for name, array in outputs.items()]
        )

    def refuse(failure: Failure) -> Any:
        error = pb_utils.TritonError
        code = error.INVALID_ARG if failure.is_senders_fault else error.INTERNAL
        return pb_utils.InferenceResponse(error=error(failure.message, code))

    return answer_all(model, requests, read=_read, respond=respond, refuse=refuse)


def _read(request: Any) -> Job:
    inputs = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
    return Job(inputs, frozenset(request.requested_output_names()))
