"""A network of the tutorial-style ensemble: ONNX Runtime in a Python model, with its defaults."""

from pathlib import Path
from typing import Any

import onnxruntime
import triton_python_backend_utils as pb_utils

from thyroid_pipeline import contract


class TritonPythonModel:
    """Triton's entry to the step."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the ONNX file that lies beside this one."""
        folder = Path(args["model_repository"]) / args["model_version"]
        self._session = onnxruntime.InferenceSession(str(folder / contract.ONNX_FILE))
        (self._model,) = (model for model in contract.STEPS if model.name == args["model_name"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests one after another."""
        responses = []
        for request in requests:
            inputs = {}
            for tensor in self._model.inputs:
                array = pb_utils.get_input_tensor_by_name(request, tensor.name).as_numpy()
                # Floats from the step before; the graph takes its pictures as bytes.
                inputs[tensor.name] = array.astype(tensor.data_type.numpy)
            names = [tensor.name for tensor in self._model.outputs]
            tensors = []
            for tensor, array in zip(
                self._model.outputs, self._session.run(names, inputs), strict=True
            ):
                is_picture = tensor.data_type is contract.DataType.UINT8
                tensors.append(
                    pb_utils.Tensor(tensor.name, array.astype("float32") if is_picture else array)
                )
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses
