"""The builder's library: which one it is, and what of its bindings the builder needs.

TensorRT and TensorRT for RTX have the same Python API under two package names. Nothing here is
imported before a command needs it, and none of the two is needed for anything else.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection
from typing import Any

from thyroid_pipeline.plan_logger import blames_missing_gpu, errors_among, logger_of
from thyroid_pipeline.plan_machine import Gpu
from thyroid_pipeline.plan_manifest import Runtime

# The bindings alone do where the container has the libraries: they link to those.
_PACKAGES = {
    Runtime.TENSORRT: ("tensorrt", "tensorrt_bindings"),
    Runtime.RTX: ("tensorrt_rtx",),
}
# Where a plan of TensorRT for RTX runs that was built for no compute capability in particular.
_RTX_DEFAULT_FROM = (8, 0)
_OLDEST = {Runtime.TENSORRT: (10, 13), Runtime.RTX: (1, 0)}
_INSTALL = {
    Runtime.TENSORRT: (
        "run this in the container that serves, where TensorRT is, with `pip install --no-deps "
        "tensorrt-cu13-bindings` (or cu12, as its CUDA is) of the very version of its libnvinfer; "
        "without a GPU only --runtime rtx builds"
    ),
    Runtime.RTX: "install it: pip install 'thyroid-triton[rtx]'",
}


class EngineError(ValueError):
    """An engine cannot be built."""


def load_runtime(runtime: Runtime) -> Any:
    """Import the library of a runtime.

    Args:
        runtime: Which.

    Returns:
        Its Python module, which has no types of its own.

    Raises:
        EngineError: It is missing, cannot be loaded, or is too old.
    """
    trt = _import_first(runtime)
    version = version_of(trt)
    oldest = _OLDEST[runtime]
    if tuple(int(part) for part in version.split(".")[:2]) < oldest:
        raise EngineError(
            f"{runtime.label} {version} is installed, {'.'.join(map(str, oldest))} or newer was "
            f"wanted: {_INSTALL[runtime]}"
        )
    return trt


def _import_first(runtime: Runtime) -> Any:
    packages, reasons = _PACKAGES[runtime], []
    for package in packages:
        try:
            return importlib.import_module(package)
        except (ImportError, OSError) as error:
            reasons.append(str(error))
    raise EngineError(
        f"{runtime.label} cannot be loaded ({'; '.join(reasons)}); its Python package "
        f"{' or '.join(packages)} was wanted: {_INSTALL[runtime]}"
    )


def version_of(trt: Any) -> str:
    """Version of a runtime's library, such as 10.16.1.11, without what its packaging adds."""
    found = re.match(r"\d+(?:\.\d+){1,3}", str(trt.__version__))
    if found is None:
        raise EngineError(
            f"{trt.__name__} calls its version {trt.__version__!r}, one such as 10.16.1.11 was "
            "wanted: install it again"
        )
    return found[0]


def is_for(gpu: Gpu, runtime: Runtime, targets: Collection[str]) -> bool:
    """Whether a plan that is built here is for a GPU of this machine, so that it can be tried.

    Args:
        gpu: The GPU.
        runtime: Whose plan; TensorRT's is for the GPU that it is built on.
        targets: Compute capabilities that it is built for, such as 8.9; none for the default.
    """
    if runtime is Runtime.TENSORRT or gpu.compute_capability in targets:
        return True
    capability = tuple(int(part) for part in gpu.compute_capability.split("."))
    return not targets and capability >= _RTX_DEFAULT_FROM


def loading_fault(trt: Any, plan: Any, *, trusted: bool) -> str | None:
    """Let the library load a plan, as the server would.

    Args:
        trt: The runtime's module.
        plan: The plan, as bytes or a buffer.
        trusted: Whether code within the plan may be run: a version-compatible plan carries some.

    Returns:
        Why it does not load; None where it does, or where its outer form is right and it takes a
        GPU, which is not there, to say more.
    """
    logger = logger_of(trt)
    logger.messages.clear()
    runtime = trt.Runtime(logger)
    runtime.engine_host_code_allowed = trusted
    if runtime.deserialize_cuda_engine(plan) is not None:
        return None
    faults = [message for message in logger.messages if not blames_missing_gpu(message)]
    return None if logger.messages and not faults else errors_among(faults)
