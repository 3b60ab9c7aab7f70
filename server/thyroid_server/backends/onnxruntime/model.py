"""Triton's side of the ONNX Runtime backend; everything else is in `thyroid_server`."""

from __future__ import annotations

from typing import Any

import triton_python_backend_utils as pb_utils

from thyroid_pipeline.screening_metrics import ScreeningMetrics
from thyroid_server.onnx_serving import RunCounters, load_for_serving
from thyroid_server.triton_requests import answer_requests


class TritonPythonModel:
    """One instance of a model whose config says `backend: "onnxruntime"`."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model; what is wrong with it stands in the server's log."""
        counters = RunCounters(pb_utils, args["model_name"])
        self._model = load_for_serving(args, counters, pb_utils.Logger)
        self._metrics = ScreeningMetrics(pb_utils, args["model_name"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests."""
        responses = answer_requests(self._model, requests, pb_utils)
        self._metrics.observe(requests, responses)
        return responses
