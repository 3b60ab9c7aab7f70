"""Writes the tutorial-style ensemble: the same weights and steps, put together as tutorials do."""

from __future__ import annotations

import shutil
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInput, ModelOutput

from thyroid_benchmarks.peers import tutorial
from thyroid_pipeline import contract
from thyroid_pipeline.steps import write_parameters

_SOURCES = Path(tutorial.__path__[0])
_NETWORK = "network"
_MAX_BATCH_SIZE = 8


def write_tutorial_repository(
    folder: Path, model_repository: Path, parameters: contract.CropperParameters
) -> None:
    """Write the repository.

    One Python model for each step, FP32 for every picture between them, no `dynamic_batching`, no
    `instance_group`, ONNX Runtime as it comes. Names are the contract's, so that the same client
    asks it.

    Args:
        folder: Where to; it must not exist.
        model_repository: Where the ONNX files are; they are linked, not copied.
        parameters: The cropper's.
    """
    for model in contract.STEPS:
        version = folder / model.name / contract.MODEL_VERSION
        version.mkdir(parents=True)
        weights = model_repository / model.name / contract.MODEL_VERSION / contract.ONNX_FILE
        is_network = weights.is_file()
        source = _SOURCES / (_NETWORK if is_network else model.name) / "model.py"
        shutil.copyfile(source, version / "model.py")
        if is_network:
            (version / contract.ONNX_FILE).symlink_to(weights.resolve())
        config = _config(model)
        config.backend = "python"
        if model is contract.ROI_CROPPER:
            for name, value in write_parameters(parameters).items():
                config.parameters[name].string_value = value
        _write(folder, config)
    ensemble = _config(contract.ENSEMBLE)
    ensemble.platform = "ensemble"
    for model in contract.STEPS:
        step = ensemble.ensemble_scheduling.step.add(model_name=model.name, model_version=-1)
        step.input_map.update({tensor.name: tensor.name for tensor in model.inputs})
        step.output_map.update({tensor.name: tensor.name for tensor in model.outputs})
    (folder / contract.ENSEMBLE.name / contract.MODEL_VERSION).mkdir(parents=True)
    _write(folder, ensemble)


def _config(model: contract.Model) -> ModelConfig:
    return ModelConfig(
        name=model.name,
        max_batch_size=_MAX_BATCH_SIZE,
        input=[
            ModelInput(name=tensor.name, data_type=_type(tensor), dims=tensor.shape)
            for tensor in model.inputs
        ],
        output=[
            ModelOutput(name=tensor.name, data_type=_type(tensor), dims=tensor.shape)
            for tensor in model.outputs
        ],
    )


def _type(tensor: contract.Tensor) -> str:
    is_picture = tensor.data_type is contract.DataType.UINT8
    return contract.DataType.FP32.config_name if is_picture else tensor.data_type.config_name


def _write(folder: Path, config: ModelConfig) -> None:
    (folder / config.name / "config.pbtxt").write_text(text_format.MessageToString(config))
