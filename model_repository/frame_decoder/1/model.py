"""Encoded images to letterboxed frames; the work is `thyroid_pipeline.steps.decode_batch`."""

from typing import Any

import triton_python_backend_utils as pb_utils

from thyroid_pipeline import contract
from thyroid_pipeline.opencv_threads import use_one_thread
from thyroid_pipeline.steps import decode_batch
from thyroid_pipeline.triton_glue import answer_requests


class TritonPythonModel:
    """Triton's entry to the step."""

    def initialize(self, _args: dict[str, str]) -> None:
        """Leave the other cores to other images."""
        use_one_thread()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests, each on its own."""
        return answer_requests(pb_utils, contract.FRAME_DECODER, decode_batch, requests)
