"""Runs an ONNX file for batches of requests; the Triton side of it is `backends/onnxruntime`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from thyroid_pipeline import contract
from thyroid_server.onnx_config import (
    GraphTensor,
    ModelConfigError,
    check_tensors,
    run_options,
    session_options,
)
from thyroid_server.request_batches import Batches, Failure, Job, Tensors


class Session(Protocol):
    """What is used of ONNX Runtime's `InferenceSession`, and what stands in for it."""

    def get_inputs(self) -> list[Any]:
        """Return the graph's inputs, as `NodeArg`."""

    def get_outputs(self) -> list[Any]:
        """Return the graph's outputs, as `NodeArg`."""

    def run(self, names: Sequence[str], inputs: Mapping[str, Any], options: Any) -> list[Any]:
        """Run the graph and return the outputs of these names."""


LoadSession = Callable[[Path, Mapping[str, Any]], Session]


def load_session(file: Path, config: Mapping[str, Any]) -> Session:
    """Load an ONNX file into one session, with the threads that its configuration names."""
    session: Session = onnxruntime.InferenceSession(
        str(file), session_options(config), providers=["CPUExecutionProvider"]
    )
    return session


class OnnxModel:
    """An ONNX file, ready to run."""

    def __init__(
        self, file: Path, config: Mapping[str, Any], load: LoadSession = load_session
    ) -> None:
        """Load the file and see that the configuration fits it.

        Args:
            file: The ONNX file.
            config: The model configuration, as Triton hands it to a Python model.
            load: Loads the file.

        Raises:
            ModelConfigError: The file is missing, or the configuration does not fit it.
        """
        if not file.is_file():
            raise ModelConfigError(
                f"there is no {file}; put the ONNX file there, or name it in the config by "
                "default_model_filename"
            )
        self._session = load(file, config)
        check_tensors(
            config,
            [GraphTensor.of(node) for node in self._session.get_inputs()],
            [GraphTensor.of(node) for node in self._session.get_outputs()],
        )
        self._run_options = run_options(config)
        self._outputs = [entry["name"] for entry in config["output"]]
        self._batches = Batches(
            self._run,
            is_batched=config.get("max_batch_size", 0) > 0,
            refusals=(InvalidArgument,),
        )

    def run(self, jobs: Sequence[Job]) -> list[Tensors | Failure]:
        """Answer several requests, see `Batches.answer`."""
        return self._batches.answer(jobs)

    def _run(self, inputs: Tensors, wanted: frozenset[str]) -> Tensors:
        names = [name for name in self._outputs if not wanted or name in wanted]
        arrays = self._session.run(names, inputs, self._run_options)
        return dict(zip(names, arrays, strict=True))


def load_model(arguments: Mapping[str, str], load: LoadSession = load_session) -> OnnxModel:
    """Load the model that Triton asks a Python-based backend to serve.

    Args:
        arguments: What Triton hands to `initialize`.
        load: Loads the file.

    Raises:
        ModelConfigError: The file is missing, or the configuration does not fit it.
    """
    config = json.loads(arguments["model_config"])
    file = (
        Path(arguments["model_repository"])
        / arguments["model_version"]
        / (config.get("default_model_filename") or contract.ONNX_FILE)
    )
    return OnnxModel(file / contract.ONNX_FILE if file.is_dir() else file, config, load)
