"""What the Python models of the repository share: a request in, its response out, never a raise.

Triton fails a whole batch when `execute` raises, and shows the client file paths and a traceback.
Here each request fails alone, with a message for the client; the traceback goes to the log.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from thyroid_pipeline.contract import Model
from thyroid_pipeline.errors import ImageError

Step = Callable[[Mapping[str, npt.NDArray[np.generic]]], Mapping[str, npt.NDArray[np.generic]]]


def answer_requests(pb_utils: Any, model: Model, step: Step, requests: Sequence[Any]) -> list[Any]:
    """Answer a batch of requests.

    Args:
        pb_utils: Triton's `triton_python_backend_utils`, which exists within the server only.
        model: Whose inputs and outputs.
        step: What the model does: inputs by name to outputs by name, raising ImageError.
        requests: Triton's requests.

    Returns:
        A response for each request, in order; an ImageError is the client's (INVALID_ARG), anything
        else is ours (INTERNAL).
    """
    return [_answer(pb_utils, model, step, request) for request in requests]


def _answer(pb_utils: Any, model: Model, step: Step, request: Any) -> Any:
    try:
        inputs = {
            tensor.name: pb_utils.get_input_tensor_by_name(request, tensor.name).as_numpy()
            for tensor in model.inputs
        }
        outputs = step(inputs)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(tensor.name, outputs[tensor.name]) for tensor in model.outputs]
        )
    except ImageError as error:
        failure = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
    except Exception as error:  # whatever failed, the batch's other requests must not
        pb_utils.Logger.log_error(f"{model.name} failed:\n{traceback.format_exc()}")
        failure = pb_utils.TritonError(
            f"{model.name} failed on this request ({type(error).__name__}); nothing is wrong with "
            "the others: see the server's log for the cause, and report it"
        )
    return pb_utils.InferenceResponse(output_tensors=[], error=failure)
