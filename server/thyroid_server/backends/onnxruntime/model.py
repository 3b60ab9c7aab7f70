"""Triton's side of the ONNX Runtime backend; everything else is in `thyroid_server`."""

from __future__ import annotations

from typing import Any

import triton_python_backend_utils as pb_utils

from thyroid_pipeline.screening_metrics import ScreeningMetrics
from thyroid_server.onnx_serving import RunCounters, load_for_serving
from thyroid_server.onnx_session import Failure, Job, Tensors, answer_all


class TritonPythonModel:
    """One instance of a model whose config says `backend: "onnxruntime"`."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model; what is wrong with it stands in the server's log."""
        counters = RunCounters(pb_utils, args["model_name"])
        self._model = load_for_serving(args, counters, pb_utils.Logger)
        self._metrics = ScreeningMetrics(pb_utils, args["model_name"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests."""
        responses = answer_all(self._model, requests, read=_read, respond=_respond, refuse=_refuse)
        self._metrics.observe(requests, responses)
        return responses


def _read(request: Any) -> Job:
    inputs = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
    return Job(inputs, frozenset(request.requested_output_names()))


def _respond(outputs: Tensors) -> Any:
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, array) for name, array in outputs.items()]
    )


def _refuse(failure: Failure) -> Any:
    error = pb_utils.TritonError
    code = error.INVALID_ARG if failure.is_senders_fault else error.INTERNAL
    return pb_utils.InferenceResponse(error=error(failure.message, code))
