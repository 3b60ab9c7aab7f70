"""The cropper of the tutorial-style ensemble: floats in, a region of floats out."""

import json
from typing import Any

import triton_python_backend_utils as pb_utils

from thyroid_pipeline import contract
from thyroid_pipeline.steps import crop_batch, read_parameters


class TritonPythonModel:
    """Triton's entry to the step."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the parameters from the model's config."""
        self._parameters = read_parameters(json.loads(args["model_config"]))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests one after another."""
        responses = []
        for request in requests:
            inputs = {}
            for tensor in contract.ROI_CROPPER.inputs:
                array = pb_utils.get_input_tensor_by_name(request, tensor.name).as_numpy()
                inputs[tensor.name] = array.astype(tensor.data_type.numpy)
            outputs = crop_batch(inputs, self._parameters)
            tensors = []
            for tensor in contract.ROI_CROPPER.outputs:
                is_picture = tensor.data_type is contract.DataType.UINT8
                array = outputs[tensor.name]
                tensors.append(
                    pb_utils.Tensor(tensor.name, array.astype("float32") if is_picture else array)
                )
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses
