"""The Python steps on whole batches, and the cropper's parameters."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pictures import encode, phantom_png
from thyroid_pipeline import contract
from thyroid_pipeline.contract import CropperParameters
from thyroid_pipeline.crop import crop_nodule
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.frame import make_frame
from thyroid_pipeline.letterbox import Geometry
from thyroid_pipeline.steps import (
    Arrays,
    crop_batch,
    decode_batch,
    read_parameters,
    write_parameters,
)

PARAMETERS = CropperParameters()
PICTURES = [
    phantom_png(0),
    phantom_png(1, height_px=480, width_px=640),
    phantom_png(2, height_px=300, width_px=300),
]


def images(*pictures: bytes) -> Arrays:
    """The decoder's input as Triton hands it over: BYTES [n, 1]."""
    batch = np.empty((len(pictures), *contract.IMAGE.shape), np.object_)
    batch[:, 0] = pictures
    return {contract.IMAGE.name: batch}


def as_in_the_contract(model: contract.Model, outputs: Arrays, count: int) -> None:
    assert list(outputs) == [tensor.name for tensor in model.outputs]
    for tensor in model.outputs:
        assert outputs[tensor.name].dtype == tensor.data_type.numpy, tensor.name
        assert outputs[tensor.name].shape == (count, *tensor.shape), tensor.name


# --- the decoder


@pytest.mark.parametrize("count", [0, 1, 3])
def test_decoding_a_batch_is_decoding_each(count: int) -> None:
    outputs = decode_batch(images(*PICTURES[:count]))
    as_in_the_contract(contract.FRAME_DECODER, outputs, count)
    for row, picture in enumerate(PICTURES[:count]):
        frame, geometry = make_frame(picture)
        assert np.array_equal(outputs["frame"][row, 0], frame)
        assert np.array_equal(outputs["geometry"][row], geometry.to_array())


def test_the_message_names_the_image_of_a_batch() -> None:
    batch = images(*PICTURES[:2], b"no picture", *PICTURES[:2])
    with pytest.raises(ImageError, match=r"^image 3 of 5: 10 bytes starting with 6e 6f 20 "):
        decode_batch(batch)


def test_the_message_of_a_single_image_names_no_row() -> None:
    with pytest.raises(ImageError, match=r"^the image is empty \(0 bytes\)"):
        decode_batch(images(b""))


def test_a_uniform_picture_fails_in_the_decoder_not_later() -> None:
    with pytest.raises(ImageError, match="every pixel of the image is 9"):
        decode_batch(images(encode(Image.new("L", (99, 99), 9))))


# --- the cropper


def disc_map(x: int, y: int, radius: int) -> NDArray[np.uint8]:
    rows, columns = np.indices((contract.MAP_SIDE_PX,) * 2)
    inside = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
    return np.where(inside, 255, 0).astype(np.uint8)


def cropper_inputs(maps: list[NDArray[np.uint8]]) -> Arrays:
    inputs = decode_batch(images(*PICTURES[: len(maps)]))
    inputs[contract.NODULE_PROBABILITY.name] = np.stack(maps)[:, None]
    return inputs


MAPS = [disc_map(100, 110, 30), np.zeros((contract.MAP_SIDE_PX,) * 2, np.uint8)]


def test_cropping_a_batch_is_cropping_each() -> None:
    inputs = cropper_inputs([*MAPS, disc_map(120, 90, 20)])
    outputs = crop_batch(inputs, PARAMETERS)
    as_in_the_contract(contract.ROI_CROPPER, outputs, 3)
    assert outputs["nodule_found"][:, 0].tolist() == [True, False, True]
    for row in range(3):
        crop = crop_nodule(
            inputs["frame"][row, 0].astype(np.uint8),
            inputs["nodule_probability"][row, 0].astype(np.uint8),
            Geometry.from_array(inputs["geometry"][row].astype(np.int32)),
            PARAMETERS,
        )
        assert np.array_equal(outputs["roi"][row, 0], crop.roi)
        assert np.array_equal(outputs["box"][row], crop.box)
        assert outputs["mask"][row, 0] == crop.mask
        assert np.array_equal(outputs["morphology"][row], crop.morphology, equal_nan=True)


def test_inputs_may_be_read_only_and_stay_as_they_were() -> None:
    inputs = cropper_inputs(MAPS)
    before = {name: values.copy() for name, values in inputs.items()}
    for values in inputs.values():
        values.flags.writeable = False
    crop_batch(inputs, PARAMETERS)
    for name, values in inputs.items():
        assert np.array_equal(values, before[name]), name


def test_a_geometry_that_is_none_is_named_by_its_row() -> None:
    inputs = cropper_inputs(MAPS)
    inputs["geometry"][1] = 0
    with pytest.raises(ImageError, match=r"^image 2 of 2: Geometry\(.*\) is no geometry of a 448"):
        crop_batch(inputs, PARAMETERS)


# --- parameters

shares = st.floats(0, 1)


@given(st.builds(CropperParameters, shares, shares, shares))
def test_parameters_read_back_from_a_config_as_they_were(parameters: CropperParameters) -> None:
    written = write_parameters(parameters)
    assert list(written) == [field.name for field in dataclasses.fields(CropperParameters)]
    config = {"parameters": {name: {"string_value": text} for name, text in written.items()}}
    assert read_parameters(json.loads(json.dumps(config))) == parameters


@pytest.mark.parametrize("config", [{}, {"parameters": {}}, {"parameters": None}, {"name": "x"}])
def test_what_a_config_leaves_out_has_its_default(config: dict[str, object]) -> None:
    assert read_parameters(config) == CropperParameters()


def test_a_misspelt_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"names treshold; only .*threshold are known"):
        read_parameters({"parameters": {"treshold": {"string_value": "0.5"}}})


def test_one_parameter_alone_is_read_and_tritons_own_are_not_ours() -> None:
    stated = {"threshold": {"string_value": "0.25"}, "EXECUTION_ENV_PATH": {"string_value": "x"}}
    assert read_parameters({"parameters": stated}) == CropperParameters(threshold=0.25)


@pytest.mark.parametrize("text", ["", "half", "-0.1", "1.01", "nan", "inf", "-inf", "0,5"])
@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(CropperParameters)])
def test_a_parameter_that_is_no_share_is_refused(name: str, text: str) -> None:
    with pytest.raises(
        ValueError,
        match=rf"^parameter `{name}` of roi_cropper is '{text}'; a number from 0 to 1 was wanted: "
        "mend it in the model's config$",
    ):
        read_parameters({"parameters": {name: {"string_value": text}}})


def test_a_parameter_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="`threshold` of roi_cropper is None"):
        read_parameters({"parameters": {"threshold": {}}})


def test_parameters_that_are_no_map_are_refused() -> None:
    with pytest.raises(TypeError, match="`parameters` of roi_cropper is list; a map of names was"):
        read_parameters({"parameters": [1]})
