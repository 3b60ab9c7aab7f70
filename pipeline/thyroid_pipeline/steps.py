"""The Python steps of the ensemble on whole batches, as Triton's models call them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields

import numpy as np
import numpy.typing as npt

from thyroid_pipeline import contract
from thyroid_pipeline.crop import crop_nodule
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.frame import make_frame
from thyroid_pipeline.letterbox import Geometry

Arrays = dict[str, npt.NDArray[np.generic]]


def decode_batch(inputs: Mapping[str, npt.NDArray[np.generic]]) -> Arrays:
    """Run `contract.FRAME_DECODER` on a batch.

    Args:
        inputs: Its inputs by name, each with the batch axis first.

    Returns:
        Its outputs by name, likewise.

    Raises:
        ImageError: An image of the batch cannot be screened; the message says which.
    """
    images = inputs[contract.IMAGE.name].reshape(-1)
    frames = np.empty((len(images), *contract.FRAME.shape), np.uint8)
    geometries = np.empty((len(images), *contract.GEOMETRY.shape), np.int32)
    for row, image in enumerate(images):
        try:
            frames[row, 0], geometry = make_frame(bytes(image))
        except ImageError as error:
            raise _name_row(error, row, len(images)) from error
        geometries[row] = geometry.to_array()
    return {contract.FRAME.name: frames, contract.GEOMETRY.name: geometries}


def crop_batch(
    inputs: Mapping[str, npt.NDArray[np.generic]], parameters: contract.CropperParameters
) -> Arrays:
    """Run `contract.ROI_CROPPER` on a batch.

    Args:
        inputs: Its inputs by name, each with the batch axis first.
        parameters: Threshold, minimum area and margin.

    Returns:
        Its outputs by name, likewise.

    Raises:
        ImageError: A geometry of the batch is none; the message says which.
    """
    frames = inputs[contract.FRAME.name]
    count = len(frames)
    outputs: Arrays = {
        tensor.name: np.empty((count, *tensor.shape), tensor.data_type.numpy)
        for tensor in contract.ROI_CROPPER.outputs
    }
    for row in range(count):
        try:
            geometry = Geometry.from_array(inputs[contract.GEOMETRY.name][row])
        except ImageError as error:
            raise _name_row(error, row, count) from error
        probability = inputs[contract.NODULE_PROBABILITY.name][row, 0]
        crop = crop_nodule(frames[row, 0], probability, geometry, parameters)
        for name, output in outputs.items():
            output[row] = getattr(crop, name)
    return outputs


def _name_row(error: ImageError, row: int, count: int) -> ImageError:
    return error if count == 1 else ImageError(f"image {row + 1} of {count}: {error}")


def write_parameters(parameters: contract.CropperParameters) -> dict[str, str]:
    """The cropper's parameters as they stand in its `config.pbtxt`."""
    return {name: str(value) for name, value in asdict(parameters).items()}


def read_parameters(model_config: Mapping[str, object]) -> contract.CropperParameters:
    """Read the cropper's parameters from its config.

    Args:
        model_config: Triton's model config as parsed JSON.

    Returns:
        The parameters; one that the config does not name has its default.

    Raises:
        TypeError: `parameters` is no map.
        ValueError: A parameter is unknown, or no number from 0 to 1.
    """
    stated = model_config.get("parameters") or {}
    if not isinstance(stated, Mapping):
        raise TypeError(
            f"`parameters` of {contract.ROI_CROPPER.name} is {type(stated).__name__}; a map of "
            "names was wanted: mend it in the model's config"
        )
    names = {field.name for field in fields(contract.CropperParameters)}
    # Names in capitals are Triton's own, such as EXECUTION_ENV_PATH.
    if unknown := sorted(name for name in set(stated) - names if not name.isupper()):
        raise ValueError(
            f"`parameters` of {contract.ROI_CROPPER.name} names {', '.join(unknown)}; only "
            f"{', '.join(sorted(names))} are known: mend the spelling in the model's config"
        )
    return contract.CropperParameters(
        **{name: _read_share(name, stated[name]) for name in names & set(stated)}
    )


def _read_share(name: str, entry: object) -> float:
    text = entry.get("string_value") if isinstance(entry, Mapping) else entry
    try:
        value = float(str(text))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(
            f"parameter `{name}` of {contract.ROI_CROPPER.name} is {text!r}; a number from 0 to 1 "
            "was wanted: mend it in the model's config"
        )
    return value
