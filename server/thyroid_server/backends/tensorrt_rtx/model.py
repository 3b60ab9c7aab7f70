"""Triton's side of the TensorRT for RTX backend; everything else is in `thyroid_server`."""

from __future__ import annotations

from typing import Any

import triton_python_backend_utils as pb_utils

from thyroid_pipeline.screening_metrics import ScreeningMetrics
from thyroid_server.rtx_serving import load_for_serving
from thyroid_server.triton_requests import answer_requests


class TritonPythonModel:
    """One instance of a model whose config says `backend: "tensorrt_rtx"`."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the plan on the instance's GPU; what is wrong stands in the server's log."""
        self._model = load_for_serving(args, pb_utils.Logger)
        self._metrics = ScreeningMetrics(pb_utils, args["model_name"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests."""
        responses = answer_requests(self._model, requests, pb_utils)
        self._metrics.observe(requests, responses)
        return responses

    def finalize(self) -> None:
        """Give the GPU's memory back."""
        self._model.close()
