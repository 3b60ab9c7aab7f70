"""On which engine, in how many instances and behind which queue each model is served."""

from __future__ import annotations

from dataclasses import dataclass, field

from thyroid_pipeline import contract
from thyroid_pipeline.plan_manifest import Runtime
from thyroid_pipeline.steps import write_parameters


@dataclass(frozen=True)
class Serving:
    """How one model is served under one profile.

    Attributes:
        engine: Fields of the config that name the engine: `platform` or `backend`, and the file.
        instances: Number of instances.
        kind: KIND_CPU or KIND_GPU.
        preferred_batch_sizes: Sizes at which the batcher stops gathering; (1,) keeps requests
            apart.
        queue_delay_us: How long the batcher waits for more requests, in microseconds.
        parameters: The model's own parameters in the config.
    """

    engine: dict[str, str]
    instances: int
    kind: str
    preferred_batch_sizes: tuple[int, ...] = ()
    queue_delay_us: int = 0
    parameters: dict[str, str] = field(default_factory=dict)


# The longest queue in front of a model, in requests, and the longest wait in it. Beyond either a
# request is refused at once with UNAVAILABLE, which tells a client to back off, rather than
# answered when nobody waits for it any more.
MAX_QUEUE_REQUESTS = 128
QUEUE_TIMEOUT_S = 20
# With a bounded queue Triton hands out a request only when an instance is idle, and where there is
# one instance it misses that moment again and again: the next look is half a second later (seen in
# 2.51). Eight images at once took 1.4 s at the median, up to 3.6, instead of 0.45. So a model with
# one instance has a queue without bounds, and stands behind one with bounds.
LEAST_INSTANCES_BEHIND_A_QUEUE = 2

_PYTHON = {"backend": "python"}
_PLAN = {"platform": "tensorrt_plan", "default_model_filename": contract.PLAN_FILE}
_RTX_PLAN = {"backend": "tensorrt_rtx", "default_model_filename": Runtime.RTX.plan_file}
_ONNX = {"backend": "onnxruntime", "default_model_filename": contract.ONNX_FILE}

# Spinning threads of one session would take the cores from the other's work.
_ONNX_PARAMETERS = {
    "intra_op_thread_count": "2",
    "inter_op_thread_count": "1",
    "session.intra_op.allow_spinning": "0",
}

# `thyroid-serve` makes as many instances as there are cores, which they share: all cores for a lone
# request, one for each of several. Another server takes what is written here: two threads each for
# two instances.
_NETWORK = Serving(_ONNX, 2, "KIND_CPU", (1,), parameters={**_ONNX_PARAMETERS, "share_cores": "1"})

# Trees have no TensorRT, and a few hundred of them answer a row sooner than a second thread wakes.
# What waits is answered together, at no cost to the first of it.
_FOREST = Serving(
    _ONNX, 1, "KIND_CPU", parameters={**_ONNX_PARAMETERS, "intra_op_thread_count": "1"}
)

# Full batches, or half ones while the rest is on its way.
_GPU_BATCHES = (contract.MAX_BATCH_SIZE // 2, contract.MAX_BATCH_SIZE)

# The library would record its work for each batch size and replay it. Off, as the library itself
# has it, until it has been measured on a GPU.
_RTX_NETWORK = Serving(_RTX_PLAN, 1, "KIND_GPU", _GPU_BATCHES, 500, parameters={"cuda_graphs": "0"})

_CROPPER_PARAMETERS = write_parameters(contract.CropperParameters())

# `thyroid-serve`, and the GPU image's start, make as many instances as there are cores, at most 16.
# Another server takes what is written below.
_PER_CORE = {"INSTANCE_PER_CORE": "1"}

_PLAN_NETWORK = Serving(_PLAN, 1, "KIND_GPU", _GPU_BATCHES, 500)


def _beside_a_gpu(network: Serving) -> dict[str, Serving]:
    """Every step where both networks are on a GPU; the rest must keep up with it."""
    return {
        contract.FRAME_DECODER.name: Serving(_PYTHON, 4, "KIND_CPU", parameters=_PER_CORE),
        contract.TRANSUNET.name: network,
        contract.ROI_CROPPER.name: Serving(
            _PYTHON, 4, "KIND_CPU", parameters={**_CROPPER_PARAMETERS, **_PER_CORE}
        ),
        contract.RESNET18.name: network,
        contract.MORPHOLOGY_FOREST.name: _FOREST,
    }


SERVING = {
    contract.DEFAULT_PROFILE: _beside_a_gpu(_PLAN_NETWORK),
    contract.RTX_PROFILE: _beside_a_gpu(_RTX_NETWORK),
    contract.CPU_PROFILE: {
        contract.FRAME_DECODER.name: Serving(_PYTHON, 2, "KIND_CPU", (1,)),
        contract.TRANSUNET.name: _NETWORK,
        contract.ROI_CROPPER.name: Serving(
            _PYTHON, 2, "KIND_CPU", (1,), parameters=_CROPPER_PARAMETERS
        ),
        contract.RESNET18.name: _NETWORK,
        contract.MORPHOLOGY_FOREST.name: _FOREST,
    },
}
