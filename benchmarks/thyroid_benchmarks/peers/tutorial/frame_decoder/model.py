"""The decoder of the tutorial-style ensemble: an image in, a frame of floats out."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from thyroid_pipeline import contract
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.steps import decode_batch


class TritonPythonModel:
    """Triton's entry to the step."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests one after another."""
        responses = []
        for request in requests:
            name = contract.IMAGE.name
            image = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
            try:
                outputs = decode_batch({name: image})
            except ImageError as error:
                failure = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
                responses.append(pb_utils.InferenceResponse(error=failure))
                continue
            frame = outputs[contract.FRAME.name].astype(np.float32)
            geometry = outputs[contract.GEOMETRY.name]
            responses.append(
                pb_utils.InferenceResponse(
                    [
                        pb_utils.Tensor(contract.FRAME.name, frame),
                        pb_utils.Tensor(contract.GEOMETRY.name, geometry),
                    ]
                )
            )
        return responses
