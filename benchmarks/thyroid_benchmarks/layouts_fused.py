"""The whole way in one Python model: what one would write who does without an ensemble.

Copied into a model repository as `model.py`; only Triton can import it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import triton_python_backend_utils as pb_utils

from thyroid_pipeline import contract
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.opencv_threads import use_one_thread
from thyroid_pipeline.steps import crop_batch, decode_batch, read_parameters
from thyroid_pipeline.triton_glue import answer_requests
from thyroid_server.core_pool import POOL_VARIABLE, CorePool, Loan
from thyroid_server.onnx_config import session_options
from thyroid_server.onnx_ladder import LadderSession
from thyroid_server.onnx_session import Session

Arrays = dict[str, npt.NDArray[Any]]


class TritonPythonModel:
    """Triton's entry."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load everything."""
        use_one_thread()
        parameters = read_parameters(json.loads(args["model_config"]))
        folder = Path(args["model_repository"]) / args["model_version"]
        self._screening = FusedScreening(folder, parameters)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests: all of them together go from step to step."""
        image = contract.IMAGE.name
        found = self._screening.screen(
            [
                {image: pb_utils.get_input_tensor_by_name(request, image).as_numpy()}
                for request in requests
            ]
        )
        answers = iter(found)

        def answer(_inputs: Mapping[str, npt.NDArray[np.generic]]) -> Arrays:
            one = next(answers)
            if isinstance(one, ImageError):
                raise one
            return one

        return answer_requests(pb_utils, contract.ENSEMBLE, answer, requests)


class FusedScreening:
    """Decoder, networks, cropper and forest, one after another.

    The networks take cores of the server's pool, as ours do, so that the comparison is about the
    hops between processes and nothing else.

    Args:
        folder: Where the ONNX files are, each in a folder of its model's name.
        parameters: The cropper's.
    """

    def __init__(self, folder: Path, parameters: contract.CropperParameters) -> None:
        self._parameters = parameters
        pool = CorePool(Path(os.environ[POOL_VARIABLE]))
        forest = {"parameters": {"intra_op_thread_count": {"string_value": "1"}}}
        self._sessions: dict[str, Session] = {
            model.name: LadderSession(_weights(folder, model), {}, pool, _Nobody())
            for model in contract.NETWORKS
        }
        self._sessions[contract.MORPHOLOGY_FOREST.name] = onnxruntime.InferenceSession(
            str(_weights(folder, contract.MORPHOLOGY_FOREST)),
            session_options(forest),
            providers=["CPUExecutionProvider"],
        )

    def screen(self, requests: Sequence[Arrays]) -> list[Arrays | ImageError]:
        """Answer requests; names and shapes are those of `contract.ENSEMBLE`.

        Returns:
            For each its outputs, or why it cannot be screened: the others go on.
        """
        found: list[Arrays | ImageError] = []
        for inputs in requests:
            try:
                found.append(decode_batch(inputs))
            except ImageError as error:
                found.append(error)
        sound = [one for one in found if not isinstance(one, ImageError)]
        if not sound:
            return found
        known = {name: np.concatenate([one[name] for one in sound]) for name in sound[0]}
        self._run(contract.TRANSUNET, known)
        known |= crop_batch(known, self._parameters)
        self._run(contract.RESNET18, known)
        self._run(contract.MORPHOLOGY_FOREST, known)
        ends = np.cumsum([len(next(iter(one.values()))) for one in sound])[:-1]
        parts = {name: np.split(array, ends) for name, array in known.items()}
        answers = iter(
            [{name: part[row] for name, part in parts.items()} for row in range(len(sound))]
        )
        return [one if isinstance(one, ImageError) else next(answers) for one in found]

    def _run(self, model: contract.Model, known: Arrays) -> None:
        names = [tensor.name for tensor in model.outputs]
        inputs = {tensor.name: known[tensor.name] for tensor in model.inputs}
        known |= dict(zip(names, self._sessions[model.name].run(names, inputs, None), strict=True))


def _weights(folder: Path, model: contract.Model) -> Path:
    return folder / model.name / contract.ONNX_FILE


class _Nobody:
    def note(self, threads: int, loan: Loan) -> None:
        """Runs of this layout are not counted."""
