"""The generated configs, parsed by Triton's own message and held against the contract."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup

from thyroid_export.model_config import config_text
from thyroid_export.profiles import SERVING
from thyroid_export.repository import generated_files
from thyroid_pipeline import contract
from thyroid_pipeline.decode import decode_image
from thyroid_pipeline.letterbox import Geometry
from thyroid_pipeline.steps import crop_batch, decode_batch, read_parameters

PROFILES = ("default", "rtx", "cpu")
PYTHON_STEPS = (contract.FRAME_DECODER, contract.ROI_CROPPER)
# What Triton calls the contract's types in a config.
TYPES = {
    "BOOL": "TYPE_BOOL",
    "UINT8": "TYPE_UINT8",
    "INT32": "TYPE_INT32",
    "FP32": "TYPE_FP32",
    "BYTES": "TYPE_STRING",
}
BYTES_PER_ELEMENT = {"UINT8": 1, "INT32": 4}

every_model = pytest.mark.parametrize("model", contract.MODELS, ids=lambda model: model.name)
every_profile = pytest.mark.parametrize("profile", PROFILES)


def parse(model: contract.Model, profile: str) -> ModelConfig:
    return text_format.Parse(config_text(model, profile), ModelConfig())


def test_profiles_are_these() -> None:
    assert tuple(SERVING) == PROFILES


@every_profile
@every_model
def test_tensors_are_the_contracts(model: contract.Model, profile: str) -> None:
    config = parse(model, profile)
    assert config.name == model.name
    assert config.max_batch_size == 16
    for entries, tensors in ((config.input, model.inputs), (config.output, model.outputs)):
        assert [
            (entry.name, DataType.Name(entry.data_type), tuple(entry.dims)) for entry in entries
        ] == [(tensor.name, TYPES[tensor.data_type.value], tensor.shape) for tensor in tensors]


def test_public_interface() -> None:
    """What users build on, spelled out: a change here breaks them."""
    config = parse(contract.ENSEMBLE, "default")
    assert config.name == "thyroid_screening"
    assert [(e.name, DataType.Name(e.data_type), list(e.dims)) for e in config.input] == [
        ("image", "TYPE_STRING", [1])
    ]
    assert [(e.name, DataType.Name(e.data_type), list(e.dims)) for e in config.output] == [
        ("decision", "TYPE_INT32", [1]),
        ("nodule_found", "TYPE_BOOL", [1]),
        ("malignancy", "TYPE_FP32", [1]),
        ("forest_malignancy", "TYPE_FP32", [1]),
        ("ood_score", "TYPE_FP32", [1]),
        ("box", "TYPE_INT32", [4]),
        ("mask", "TYPE_STRING", [1]),
        ("morphology", "TYPE_FP32", [len(contract.MORPHOLOGY_FIELDS)]),
        ("evidence", "TYPE_FP32", [5, 5]),
    ]


@every_profile
def test_ensemble_connects_only_what_exists(profile: str) -> None:
    ensemble = parse(contract.ENSEMBLE, profile)
    assert ensemble.platform == "ensemble"
    assert not ensemble.backend
    assert not ensemble.instance_group
    assert not ensemble.model_warmup  # Triton refuses it
    assert not ensemble.HasField("dynamic_batching")  # likewise
    assert not ensemble.response_cache.enable
    types = {entry.name: (entry.data_type, tuple(entry.dims)) for entry in ensemble.input}
    steps = ensemble.ensemble_scheduling.step
    assert [step.model_name for step in steps] == [step.name for step in contract.STEPS]
    for step in steps:
        model = next(model for model in contract.STEPS if model.name == step.model_name)
        config = parse(model, profile)
        assert set(step.input_map) == {entry.name for entry in config.input}
        assert set(step.output_map) == {entry.name for entry in config.output}
        assert step.model_version == -1
        for entry in config.input:
            given = types[step.input_map[entry.name]]  # made by an earlier step
            assert given == (entry.data_type, tuple(entry.dims))
        for entry in config.output:
            name = step.output_map[entry.name]
            assert name not in types, "made twice"
            types[name] = (entry.data_type, tuple(entry.dims))
    for entry in ensemble.output:
        assert types[entry.name] == (entry.data_type, tuple(entry.dims))


@every_profile
def test_the_first_step_turns_away_what_is_too_much(profile: str) -> None:
    config = parse(contract.STEPS[0], profile)
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 128


@every_profile
@pytest.mark.parametrize("model", contract.STEPS, ids=lambda model: model.name)
def test_every_step_has_its_queue_and_its_engine(model: contract.Model, profile: str) -> None:
    config = parse(model, profile)
    policy = config.dynamic_batching.default_queue_policy
    assert policy.timeout_action == 0  # REJECT
    # A single instance behind a bounded queue loses half seconds.
    bounded = config.instance_group[0].count > 1
    assert policy.default_timeout_microseconds == (20_000_000 if bounded else 0)
    assert policy.allow_timeout_override == bounded
    assert policy.max_queue_size == (128 if bounded else 0)
    assert all(size <= 16 for size in config.dynamic_batching.preferred_batch_size)
    assert config.dynamic_batching.max_queue_delay_microseconds <= 1000
    (group,) = config.instance_group
    assert group.count >= 1
    kind = ModelInstanceGroup.Kind.Name(group.kind)
    if model in PYTHON_STEPS:
        assert (config.backend, config.platform, kind) == ("python", "", "KIND_CPU")
        assert not config.default_model_filename
    elif profile == "default" and model in contract.NETWORKS:
        assert (config.platform, config.backend, kind) == ("tensorrt_plan", "", "KIND_GPU")
        assert config.default_model_filename == "model.plan"
    elif profile == "rtx" and model in contract.NETWORKS:
        assert (config.platform, config.backend, kind) == ("", "tensorrt_rtx", "KIND_GPU")
        assert config.default_model_filename == "model.rtx.plan"
        assert config.parameters["cuda_graphs"].string_value == "0"
    else:
        assert (config.backend, config.platform, kind) == ("onnxruntime", "", "KIND_CPU")
        assert config.default_model_filename == "model.onnx"
        assert config.parameters["session.intra_op.allow_spinning"].string_value == "0"
        assert int(config.parameters["intra_op_thread_count"].string_value) >= 1
    assert not config.response_cache.enable  # it would answer with another patient's image


@every_profile
def test_cropper_reads_its_parameters_from_its_config(profile: str) -> None:
    config = parse(contract.ROI_CROPPER, profile)
    stated = {
        name: {"string_value": value.string_value} for name, value in config.parameters.items()
    }
    # Names in capitals are the server's business.
    own = {name for name in stated if not name.isupper()}
    assert own == {"threshold", "minimum_area_share", "margin_share"}
    assert read_parameters({"parameters": stated}) == contract.CropperParameters()


# --- warm-up


@every_profile
@pytest.mark.parametrize("model", contract.STEPS, ids=lambda model: model.name)
def test_every_step_is_warmed_with_all_its_inputs(model: contract.Model, profile: str) -> None:
    files = generated_files()
    (warmup,) = parse(model, profile).model_warmup
    assert (warmup.batch_size, warmup.count) == (1, 1)
    assert set(warmup.inputs) == {tensor.name for tensor in model.inputs}
    for tensor in model.inputs:
        entry = warmup.inputs[tensor.name]
        assert DataType.Name(entry.data_type) == TYPES[tensor.data_type.value]
        assert tuple(entry.dims) == tensor.shape
        if entry.WhichOneof("input_data_type") == "zero_data":
            assert entry.zero_data
            assert tensor.data_type is not contract.DataType.BYTES  # zeros would be b""
            continue
        content = files[f"{model.name}/warmup/{entry.input_data_file}"]
        if tensor.data_type is contract.DataType.BYTES:
            assert int.from_bytes(content[:4], "little") == len(content) - 4
        else:
            wanted = np.prod(tensor.shape) * BYTES_PER_ELEMENT[tensor.data_type.value]
            assert len(content) == wanted


def test_warm_up_goes_the_usual_way_through_the_python_steps() -> None:
    """An image that decodes, a geometry that is one, and a nodule that is found."""
    files = generated_files()
    image = files["frame_decoder/warmup/image"][4:]
    assert decode_image(image).ndim == 2
    images = np.array([[image]], object)
    decoded = decode_batch({"image": images})
    given = np.frombuffer(files["roi_cropper/warmup/geometry"], np.int32)[None]
    assert np.array_equal(given, decoded["geometry"])
    Geometry.from_array(given[0])
    probability = np.frombuffer(files["roi_cropper/warmup/nodule_probability"], np.uint8)
    frame = np.zeros((1, 1, 448, 448), np.uint8)
    cropped = crop_batch(
        {
            "frame": frame,
            "nodule_probability": probability.reshape(1, 1, 224, 224),
            "geometry": given,
        },
        contract.CropperParameters(),
    )
    assert cropped["nodule_found"].all()
