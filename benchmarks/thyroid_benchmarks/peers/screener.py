"""The screening in one process, as every peer runs it: the pipeline's steps and ONNX Runtime."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from thyroid_benchmarks.peers.settings import PeerSettings
from thyroid_pipeline import contract
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.opencv_threads import use_one_thread
from thyroid_pipeline.steps import crop_batch, decode_batch

Arrays = dict[str, npt.NDArray[Any]]

_GRAPHS = (contract.TRANSUNET, contract.RESNET18, contract.MORPHOLOGY_FOREST)


class Screener:
    """Screens one image after another; may be called from several threads at once.

    Sessions do not spin: two that do take the cores from each other, and every peer is better off
    without (ONNX Runtime's own documentation recommends it where processor time is scarce). OpenCV
    keeps to one thread, as in our server, for the same reason.
    """

    def __init__(self, settings: PeerSettings) -> None:
        use_one_thread()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.threads
        options.inter_op_num_threads = 1
        for entry in ("session.intra_op.allow_spinning", "session.inter_op.allow_spinning"):
            options.add_session_config_entry(entry, "0")
        self._sessions = {
            model.name: onnxruntime.InferenceSession(
                str(settings.repository / model.name / contract.MODEL_VERSION / contract.ONNX_FILE),
                options,
                providers=["CPUExecutionProvider"],
            )
            for model in _GRAPHS
        }
        self._parameters = contract.CropperParameters(**settings.cropper)

    def screen(self, image: bytes) -> bytes:
        """Screen one encoded image.

        Returns:
            The ensemble's outputs as JSON: see `encode_answer`.

        Raises:
            ImageError: The image cannot be screened.
        """
        return encode_answer(self._screened(_decoded(image)), 0)

    def screen_batch(self, images: Sequence[bytes]) -> list[bytes | ImageError]:
        """Screen several encoded images, the networks on all of them at once.

        Returns:
            For each image what `screen` returns or raises: one that cannot be screened is refused
            alone.
        """
        found: list[Arrays | ImageError] = []
        for image in images:
            try:
                found.append(_decoded(image))
            except ImageError as error:
                found.append(error)
        sound = [one for one in found if not isinstance(one, ImageError)]
        known: Arrays = {}
        if sound:
            known = self._screened(
                {name: np.concatenate([one[name] for one in sound]) for name in sound[0]}
            )
        rows = iter(range(len(sound)))
        return [
            one if isinstance(one, ImageError) else encode_answer(known, next(rows))
            for one in found
        ]

    def _screened(self, frames: Arrays) -> Arrays:
        """Go the rest of the way from decoded images."""
        known = dict(frames)
        known |= self._run(contract.TRANSUNET, known)
        known |= crop_batch(known, self._parameters)
        known |= self._run(contract.RESNET18, known)
        known |= self._run(contract.MORPHOLOGY_FOREST, known)
        return known

    def _run(self, model: contract.Model, known: Arrays) -> Arrays:
        names = [tensor.name for tensor in model.outputs]
        inputs = {tensor.name: known[tensor.name] for tensor in model.inputs}
        return dict(zip(names, self._sessions[model.name].run(names, inputs), strict=True))


def _decoded(image: bytes) -> Arrays:
    return dict(decode_batch({contract.IMAGE.name: np.array([[image]], dtype=np.object_)}))


def encode_answer(outputs: Arrays, row: int) -> bytes:
    """Write the ensemble's outputs for one image of a batch as a JSON object.

    Numbers by name in lists of the tensor's shape without its batch, a NaN as null; the mask, the
    bytes of its PNG, in base64.
    """
    answer: dict[str, object] = {}
    for tensor in contract.ENSEMBLE.outputs:
        array = outputs[tensor.name][row]
        if tensor.data_type is contract.DataType.BYTES:
            answer[tensor.name] = base64.b64encode(array[0]).decode("ascii")
        else:
            answer[tensor.name] = _without_nan(array.tolist())
    return json.dumps(answer, allow_nan=False).encode()


def encode_refusal(message: str) -> bytes:
    """Write why an image cannot be screened."""
    return json.dumps({"error": message}).encode()


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
