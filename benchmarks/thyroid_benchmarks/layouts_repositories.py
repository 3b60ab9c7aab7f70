"""Model repositories derived from ours: the same weights and steps, laid out in another way."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from thyroid_pipeline import contract
from thyroid_server.core_pool import SHARE_CORES

Change = Callable[[ModelConfig], None]

# What a client asks that goes the way in two calls: first where the nodule is, then what it is.
FINDER = contract.Model(
    "nodule_finder", (contract.IMAGE,), (*contract.ROI_CROPPER.outputs, contract.OOD_SCORE)
)
JUDGE = contract.Model(
    "nodule_judge",
    tuple(dict.fromkeys((*contract.RESNET18.inputs, *contract.MORPHOLOGY_FOREST.inputs))),
    (*contract.RESNET18.outputs, *contract.MORPHOLOGY_FOREST.outputs),
)
# What a client asks that has raw frames.
FRAME_SCREENING = contract.Model(
    "frame_screening", contract.FRAME_DECODER.outputs, contract.ENSEMBLE.outputs
)

_FUSED_MODEL = Path(__file__).with_name("layouts_fused.py")
_NETWORKS = frozenset(model.name for model in contract.NETWORKS)
_JUDGES = (contract.RESNET18, contract.MORPHOLOGY_FOREST)


def derive(
    folder: Path,
    model_repository: Path,
    change: Change | None = None,
    more: Sequence[tuple[contract.Model, Sequence[contract.Model]]] = (),
) -> None:
    """Write a repository with our models.

    Args:
        folder: Where to; it must not exist.
        model_repository: Ours; its files are linked, its configurations of the CPU profile copied.
        change: Changes each configuration; None leaves them.
        more: Further ensembles, each with its steps.
    """
    for model in contract.MODELS:
        ours = model_repository.resolve() / model.name
        target = folder / model.name
        target.mkdir(parents=True)
        for entry in ours.iterdir():
            if entry.is_dir() and entry.name != "configs":
                (target / entry.name).symlink_to(entry, target_is_directory=True)
        config = _ours(model_repository, model)
        if change is not None:
            change(config)
        _write(folder, config)
    for ensemble, steps in more:
        config = _config(ensemble)
        config.platform = "ensemble"
        for model in steps:
            step = config.ensemble_scheduling.step.add(model_name=model.name, model_version=-1)
            step.input_map.update({tensor.name: tensor.name for tensor in model.inputs})
            step.output_map.update({tensor.name: tensor.name for tensor in model.outputs})
        (folder / ensemble.name / contract.MODEL_VERSION).mkdir(parents=True)
        _write(folder, config)


def fixed(instances: int, threads: int) -> Change:
    """Give each network so many instances of so many threads, whatever else is at work."""

    def change(config: ModelConfig) -> None:
        if config.name in _NETWORKS:
            config.parameters.pop(SHARE_CORES, None)
            config.instance_group[0].count = instances
            config.parameters["intra_op_thread_count"].string_value = str(threads)

    return change


def batched(delay_ms: float) -> Change:
    """Let each network gather requests into batches, and wait so long for more of them."""

    def change(config: ModelConfig) -> None:
        if config.name in _NETWORKS:
            del config.dynamic_batching.preferred_batch_size[:]
            config.dynamic_batching.max_queue_delay_microseconds = round(1000 * delay_ms)

    return change


def derive_two_calls(folder: Path, model_repository: Path) -> None:
    """Write a repository whose way can be gone in two calls: `FINDER`, then `JUDGE`."""
    before = [step for step in contract.STEPS if step not in _JUDGES]
    derive(folder, model_repository, more=[(FINDER, before), (JUDGE, _JUDGES)])


def derive_frames(folder: Path, model_repository: Path) -> None:
    """Write a repository that also takes frames, by `FRAME_SCREENING`."""
    after = [step for step in contract.STEPS if step is not contract.FRAME_DECODER]
    derive(folder, model_repository, more=[(FRAME_SCREENING, after)])


def derive_fused(folder: Path, model_repository: Path, instances: int, together: int = 1) -> None:
    """Write a repository of one Python model that goes the whole way by itself.

    Args:
        folder: Where to; it must not exist.
        model_repository: Ours; the ONNX files are linked, and the cropper's parameters taken over.
        instances: How many of it.
        together: How many waiting images each takes at most, from 1, and through every step.
    """
    config = _config(contract.ENSEMBLE)
    config.backend = "python"
    config.instance_group.add(count=instances, kind="KIND_CPU")
    config.dynamic_batching.preferred_batch_size.append(together)
    for name, value in _ours(model_repository, contract.ROI_CROPPER).parameters.items():
        config.parameters[name].CopyFrom(value)
    version = folder / config.name / contract.MODEL_VERSION
    version.mkdir(parents=True)
    shutil.copyfile(_FUSED_MODEL, version / "model.py")
    for model in (*contract.NETWORKS, contract.MORPHOLOGY_FOREST):
        weights = model_repository.resolve() / model.name / contract.MODEL_VERSION
        (version / model.name).symlink_to(weights, target_is_directory=True)
    _write(folder, config)


def _ours(model_repository: Path, model: contract.Model) -> ModelConfig:
    file = model_repository / model.name / "configs" / f"{contract.CPU_PROFILE}.pbtxt"
    return text_format.Parse(file.read_text(encoding="utf-8"), ModelConfig())


def _config(model: contract.Model) -> ModelConfig:
    config = ModelConfig(name=model.name, max_batch_size=contract.MAX_BATCH_SIZE)
    for field, tensors in ((config.input, model.inputs), (config.output, model.outputs)):
        for tensor in tensors:
            field.add(name=tensor.name, data_type=tensor.data_type.config_name, dims=tensor.shape)
    return config


def _write(folder: Path, config: ModelConfig) -> None:
    text = text_format.MessageToString(config)
    (folder / config.name / "config.pbtxt").write_text(text, encoding="utf-8")
