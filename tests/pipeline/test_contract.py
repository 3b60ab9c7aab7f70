"""The contract agrees with itself: names, dataflow, shapes, limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from thyroid_pipeline import contract
from thyroid_pipeline.echo import Echo
from thyroid_pipeline.letterbox import Geometry
from thyroid_pipeline.morphology import Shape

EVERY_TENSOR = {
    tensor.name: tensor for model in contract.MODELS for tensor in (*model.inputs, *model.outputs)
}


def names(tensors: tuple[contract.Tensor, ...]) -> list[str]:
    return [tensor.name for tensor in tensors]


def test_models_and_their_tensors_have_names_of_their_own() -> None:
    assert len({model.name for model in contract.MODELS}) == len(contract.MODELS)
    for model in contract.MODELS:
        assert len(set(names(model.inputs))) == len(model.inputs)
        assert len(set(names(model.outputs))) == len(model.outputs)


def test_a_name_means_the_same_tensor_everywhere() -> None:
    for model in contract.MODELS:
        for tensor in (*model.inputs, *model.outputs):
            assert tensor == EVERY_TENSOR[tensor.name]


def test_every_step_gets_what_was_made_before_and_no_tensor_is_made_twice() -> None:
    made = set(names(contract.ENSEMBLE.inputs))
    for step in contract.STEPS:
        assert set(names(step.inputs)) <= made, step.name
        assert not set(names(step.outputs)) & made, step.name
        made |= set(names(step.outputs))
    assert set(names(contract.ENSEMBLE.outputs)) <= made


def test_nothing_is_made_in_vain() -> None:
    used = {name for model in contract.STEPS for name in names(model.inputs)}
    used |= set(names(contract.ENSEMBLE.outputs))
    assert {name for step in contract.STEPS for name in names(step.outputs)} <= used


def test_the_public_interface_is_what_users_build_on() -> None:
    assert contract.ENSEMBLE.name == "thyroid_screening"
    public = {
        tensor.name: (tensor.data_type.value, tensor.shape)
        for tensor in (*contract.ENSEMBLE.inputs, *contract.ENSEMBLE.outputs)
    }
    assert public == {
        "image": ("BYTES", (1,)),
        "decision": ("INT32", (1,)),
        "nodule_found": ("BOOL", (1,)),
        "malignancy": ("FP32", (1,)),
        "forest_malignancy": ("FP32", (1,)),
        "ood_score": ("FP32", (1,)),
        "box": ("INT32", (4,)),
        "mask": ("BYTES", (1,)),
        "morphology": ("FP32", (len(contract.MORPHOLOGY_FIELDS),)),
        "evidence": ("FP32", (5, 5)),
    }


@pytest.mark.parametrize("data_type", contract.DataType)
def test_types_are_those_of_tritons_own_client(data_type: contract.DataType) -> None:
    assert np.dtype(triton_to_np_dtype(data_type.value)) == data_type.numpy
    assert np_to_triton_dtype(data_type.numpy) == data_type.value


def test_bytes_are_called_string_in_configs() -> None:
    assert contract.DataType.BYTES.config_name == "TYPE_STRING"
    assert contract.DataType.FP32.config_name == "TYPE_FP32"


def test_the_frame_is_a_whole_multiple_of_the_map() -> None:
    assert contract.FRAME_SIDE_PX % contract.MAP_SIDE_PX == 0
    assert contract.FRAME.shape == (1, contract.FRAME_SIDE_PX, contract.FRAME_SIDE_PX)
    assert contract.NODULE_PROBABILITY.shape[1:] == (contract.MAP_SIDE_PX,) * 2
    # ResNet-18 halves five times.
    assert contract.ROI_SIDE_PX == 32 * contract.EVIDENCE_SIDE


def test_fields_of_the_tensors_are_fields_of_the_dataclasses() -> None:
    geometry = tuple(field.name for field in dataclasses.fields(Geometry))
    assert geometry == contract.GEOMETRY_FIELDS
    shape, echo = ([field.name for field in dataclasses.fields(part)] for part in (Shape, Echo))
    assert sorted([*shape, *echo]) == sorted(contract.MORPHOLOGY_FIELDS)
    assert len(set(contract.MORPHOLOGY_FIELDS)) == len(contract.MORPHOLOGY_FIELDS)


def test_an_image_at_every_limit_is_possible() -> None:
    side = contract.MIN_IMAGE_SIDE_PX
    assert side * side * contract.MAX_IMAGE_ASPECT <= contract.MAX_IMAGE_PIXELS
    assert contract.MAX_BATCH_SIZE >= 5
    # All pixels' numbers of an accepted image fit the geometry's INT32.
    assert np.iinfo(np.int32).max >= contract.MAX_IMAGE_PIXELS


def test_the_cropper_has_sane_defaults_and_cannot_be_changed_in_passing() -> None:
    parameters = contract.CropperParameters()
    for value in dataclasses.astuple(parameters):
        assert 0 < value < 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        parameters.threshold = 0.1  # type: ignore[misc]
