"""Runs an ONNX file for batches of requests; the Triton side of it is `backends/onnxruntime`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from thyroid_pipeline import contract
from thyroid_server.onnx_config import (
    GraphTensor,
    ModelConfigError,
    check_tensors,
    run_options,
    session_options,
)

Tensors = dict[str, NDArray[Any]]
RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


@dataclass(frozen=True)
class Job:
    """One request.

    Attributes:
        inputs: By name; where the model batches, the first axis of each is this request's batch.
        outputs: The names of the outputs wanted; none for all of them.
    """

    inputs: Tensors
    outputs: frozenset[str]


@dataclass(frozen=True)
class Failure:
    """Why a request has no answer.

    Attributes:
        message: For whoever sent the request.
        is_senders_fault: Whether the graph refused what it was given.
    """

    message: str
    is_senders_fault: bool


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
        self._is_batched = config.get("max_batch_size", 0) > 0

    def run(self, jobs: Sequence[Job]) -> list[Tensors | Failure]:
        """Answer several requests, by one run of the graph where the model batches.

        Outputs are views into the graph's own. Where the run fails, each request is run alone,
        so that only the one at fault is lost.

        Returns:
            For each job its outputs by name, or why there are none.
        """
        if self._is_batched and len(jobs) > 1:
            try:
                return list(self._run_together(jobs))
            except Exception:
                # Whatever it was, it was not about every one of them until each has failed.
                return [self._run_alone(job) for job in jobs]
        return [self._run_alone(job) for job in jobs]

    def _run_alone(self, job: Job) -> Tensors | Failure:
        try:
            outputs = self._run(job.inputs, job.outputs)
            if self._is_batched:
                _check_batch(outputs, _batch_size(job))
        except InvalidArgument as error:
            return Failure(str(error), is_senders_fault=True)
        except Exception as error:
            return Failure(f"{type(error).__name__}: {error}", is_senders_fault=False)
        return outputs

    def _run_together(self, jobs: Sequence[Job]) -> list[Tensors]:
        ends = np.cumsum([_batch_size(job) for job in jobs])
        inputs = {
            name: np.concatenate([job.inputs[name] for job in jobs]) for name in jobs[0].inputs
        }
        all_wanted = any(not job.outputs for job in jobs)
        wanted = frozenset() if all_wanted else frozenset().union(*(job.outputs for job in jobs))
        outputs = self._run(inputs, wanted)
        _check_batch(outputs, int(ends[-1]))
        parts = {name: np.split(array, ends[:-1]) for name, array in outputs.items()}
        return [
            {
                name: part[index]
                for name, part in parts.items()
                if not job.outputs or name in job.outputs
            }
            for index, job in enumerate(jobs)
        ]

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


def answer_all(
    model: OnnxModel,
    requests: Sequence[RequestT],
    *,
    read: Callable[[RequestT], Job],
    respond: Callable[[Tensors], ResponseT],
    refuse: Callable[[Failure], ResponseT],
) -> list[ResponseT]:
    """Answer every request of a batch; never raises, so that no request is lost for another.

    An exception that left `execute` would fail the whole batch, and show the sender a traceback
    with this machine's paths.

    Args:
        model: What to run.
        requests: Triton's.
        read: Takes a request apart.
        respond: Makes a response of outputs.
        refuse: Makes a response of a failure.

    Returns:
        One response for each request, in their order.
    """
    results: dict[int, Tensors | Failure] = {}
    jobs: dict[int, Job] = {}
    for index, request in enumerate(requests):
        try:
            jobs[index] = read(request)
        except Exception as error:
            results[index] = _failure_of(error)
    results.update(zip(jobs, model.run(list(jobs.values())), strict=True))
    return [_response(results[index], respond, refuse) for index in range(len(requests))]


def _response(
    result: Tensors | Failure,
    respond: Callable[[Tensors], ResponseT],
    refuse: Callable[[Failure], ResponseT],
) -> ResponseT:
    if isinstance(result, Failure):
        return refuse(result)
    try:
        return respond(result)
    except Exception as error:
        return refuse(_failure_of(error))


def _failure_of(error: Exception) -> Failure:
    return Failure(f"{type(error).__name__}: {error}", is_senders_fault=False)


def _batch_size(job: Job) -> int:
    return int(next(iter(job.inputs.values())).shape[0])


def _check_batch(outputs: Tensors, size: int) -> None:
    for name, array in outputs.items():
        if array.shape[:1] != (size,):
            raise ValueError(
                f"the output {name} has the shape {list(array.shape)} for a batch of {size}; the "
                "graph must keep the batch as its first extent"
            )
