"""A model's `config.pbtxt` from the contract, as Triton's own message prints it."""

from __future__ import annotations

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import (
    DataType,
    ModelConfig,
    ModelInstanceGroup,
    ModelQueuePolicy,
)

from thyroid_export.profiles import (
    LEAST_INSTANCES_BEHIND_A_QUEUE,
    MAX_QUEUE_REQUESTS,
    QUEUE_TIMEOUT_S,
    SERVING,
    Serving,
)
from thyroid_export.warmup_files import WARMUP_FILES
from thyroid_pipeline import contract

_HEADER = """\
# Written by `thyroid-export repository` from thyroid_pipeline/contract.py; do not edit by hand.
# Profile: {profile}.
"""


def config_text(model: contract.Model, profile: str) -> str:
    """The config of a model under a profile.

    Args:
        model: Of the contract.
        profile: A key of `profiles.SERVING`.

    Returns:
        The text of its pbtxt file.
    """
    config = ModelConfig(name=model.name, max_batch_size=contract.MAX_BATCH_SIZE)
    for tensor in model.inputs:
        config.input.add(name=tensor.name, data_type=_type(tensor), dims=tensor.shape)
    for tensor in model.outputs:
        config.output.add(name=tensor.name, data_type=_type(tensor), dims=tensor.shape)
    if model == contract.ENSEMBLE:
        _chain(config)
    else:
        _serve(config, SERVING[profile][model.name])
        _warm_up(config, model)
    text: str = text_format.MessageToString(config)
    return _HEADER.format(profile=profile) + text


def _type(tensor: contract.Tensor) -> int:
    value: int = DataType.Value(tensor.data_type.config_name)
    return value


def _chain(config: ModelConfig) -> None:
    """The steps in order; tensors of the same name are the same tensor."""
    config.platform = "ensemble"
    for step in contract.STEPS:
        entry = config.ensemble_scheduling.step.add(model_name=step.name, model_version=-1)
        for tensor in step.inputs:
            entry.input_map[tensor.name] = tensor.name
        for tensor in step.outputs:
            entry.output_map[tensor.name] = tensor.name


def _serve(config: ModelConfig, serving: Serving) -> None:
    for key, value in serving.engine.items():
        setattr(config, key, value)
    kind = ModelInstanceGroup.Kind.Value(serving.kind)
    config.instance_group.add(count=serving.instances, kind=kind)
    batching = config.dynamic_batching
    batching.preferred_batch_size.extend(serving.preferred_batch_sizes)
    batching.max_queue_delay_microseconds = serving.queue_delay_us
    if serving.instances >= LEAST_INSTANCES_BEHIND_A_QUEUE:
        _bound_queue(batching.default_queue_policy)
    for key, value in sorted(serving.parameters.items()):
        config.parameters[key].string_value = value


def _bound_queue(policy: ModelQueuePolicy) -> None:
    policy.timeout_action = ModelQueuePolicy.TimeoutAction.Value("REJECT")
    policy.default_timeout_microseconds = QUEUE_TIMEOUT_S * 1_000_000
    policy.allow_timeout_override = True
    policy.max_queue_size = MAX_QUEUE_REQUESTS


def _warm_up(config: ModelConfig, model: contract.Model) -> None:
    warmup = config.model_warmup.add(name="one_image", batch_size=1, count=1)
    for tensor in model.inputs:
        entry = warmup.inputs[tensor.name]
        entry.data_type = _type(tensor)
        entry.dims.extend(tensor.shape)
        if (model.name, tensor.name) in WARMUP_FILES:
            entry.input_data_file = tensor.name
        else:
            entry.zero_data = True
