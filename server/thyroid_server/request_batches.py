"""Requests of one batch: answered by one run together, and where that fails each alone.

What runs is any network that takes and gives arrays by name; Triton's side is in `backends`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

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
        is_senders_fault: Whether the network refused what it was given.
    """

    message: str
    is_senders_fault: bool


class Network(Protocol):
    """What answers jobs."""

    def run(self, jobs: Sequence[Job]) -> list[Tensors | Failure]:
        """Return for each job its outputs by name, or why there are none."""


class Batches:
    """Runs several requests by one run of a network, and keeps the failure of one to itself."""

    def __init__(
        self,
        run: Callable[[Tensors, frozenset[str]], Tensors],
        *,
        is_batched: bool,
        refusals: tuple[type[Exception], ...] = (),
    ) -> None:
        """Take note.

        Args:
            run: Takes inputs and the names of the outputs wanted, none for all; returns outputs.
            is_batched: Whether the first axis of every tensor is the batch.
            refusals: What `run` raises where it refuses an input: the sender's fault.
        """
        self._run = run
        self._is_batched = is_batched
        self._refusals = refusals

    def answer(self, jobs: Sequence[Job]) -> list[Tensors | Failure]:
        """Answer several requests, by one run where the network batches.

        Outputs are views into those of the run. Where the run fails, each request is run alone, so
        that only the one at fault is lost.

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
        except self._refusals as error:
            return Failure(str(error), is_senders_fault=True)
        except Exception as error:
            return failure_of(error)
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


def answer_all(
    model: Network,
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
            results[index] = failure_of(error)
    results.update(zip(jobs, model.run(list(jobs.values())), strict=True))
    return [_response(results[index], respond, refuse) for index in range(len(requests))]


def failure_of(error: Exception) -> Failure:
    """Make a failure of an exception that is nobody's fault but the server's."""
    return Failure(f"{type(error).__name__}: {error}", is_senders_fault=False)


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
        return refuse(failure_of(error))


def _batch_size(job: Job) -> int:
    return int(next(iter(job.inputs.values())).shape[0])


def _check_batch(outputs: Tensors, size: int) -> None:
    for name, array in outputs.items():
        if array.shape[:1] != (size,):
            raise ValueError(
                f"the output {name} has the shape {list(array.shape)} for a batch of {size}; the "
                "graph must keep the batch as its first extent"
            )
