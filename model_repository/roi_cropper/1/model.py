"""Probability maps to nodules and regions; the work is `thyroid_pipeline.steps.crop_batch`."""

import json
from functools import partial
from typing import Any

import triton_python_backend_utils as pb_utils

from thyroid_pipeline import contract
from thyroid_pipeline.opencv_threads import use_one_thread
from thyroid_pipeline.screening_metrics import ScreeningMetrics
from thyroid_pipeline.steps import crop_batch, read_parameters
from thyroid_pipeline.triton_glue import answer_requests


class TritonPythonModel:
    """Triton's entry to the step."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the parameters from the model's config."""
        use_one_thread()
        parameters = read_parameters(json.loads(args["model_config"]))
        self._step = partial(crop_batch, parameters=parameters)
        self._metrics = ScreeningMetrics(pb_utils, contract.ROI_CROPPER.name)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests, each on its own."""
        responses = answer_requests(pb_utils, contract.ROI_CROPPER, self._step, requests)
        self._metrics.observe(requests, responses)
        return responses
