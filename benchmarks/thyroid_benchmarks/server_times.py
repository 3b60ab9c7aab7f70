"""Triton's own statistics of a run: what each model spent on queueing, input, inference, output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tritonclient.grpc.aio import InferenceServerClient

from thyroid_pipeline import contract

_NS_PER_MS = 1_000_000
PARTS = ("queue", "input", "inference", "output")
_FIELDS = {
    "queue": "queue",
    "input": "compute_input",
    "inference": "compute_infer",
    "output": "compute_output",
}
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ModelCounters:
    """Counters of one model, summed over its versions since the server started.

    Attributes:
        succeeded: Requests answered.
        failed: Requests failed.
        succeeded_ns: Their whole time in the server.
        part_ns: Time in each of `PARTS`, of successful requests.
        batches: Executions by batch size.
    """

    succeeded: int = 0
    failed: int = 0
    succeeded_ns: int = 0
    part_ns: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    batches: Mapping[int, int] = field(default_factory=dict)

    def since(self, earlier: ModelCounters) -> ModelCounters:
        """Return what was counted since an earlier look."""
        sizes = sorted(self.batches)
        executions = {size: self.batches[size] - earlier.batches.get(size, 0) for size in sizes}
        return ModelCounters(
            succeeded=self.succeeded - earlier.succeeded,
            failed=self.failed - earlier.failed,
            succeeded_ns=self.succeeded_ns - earlier.succeeded_ns,
            part_ns={part: self.part_ns[part] - earlier.part_ns[part] for part in PARTS},
            batches={size: count for size, count in executions.items() if count},
        )

    @property
    def mean_ms(self) -> float:
        """Mean time of a successful request in the server; NaN without one."""
        return _mean_ms(self.succeeded_ns, self.succeeded)

    def part_ms(self, part: str) -> float:
        """Mean time of a successful request in one of `PARTS`; NaN without one."""
        return _mean_ms(self.part_ns[part], self.succeeded)

    @property
    def mean_batch(self) -> float:
        """Mean size of the batches that were executed; NaN without one."""
        executions = sum(self.batches.values())
        images = sum(size * count for size, count in self.batches.items())
        return images / executions if executions else float("nan")


Counters = Mapping[str, ModelCounters]


async def read_counters(target: str) -> Counters:
    """Ask a server for the counters of every model that it serves.

    Args:
        target: host:port of its gRPC port, in plain text.

    Raises:
        tritonclient.utils.InferenceServerException: It does not tell.
    """
    async with InferenceServerClient(target) as client:
        answer = await client.get_inference_statistics(client_timeout=_TIMEOUT_S)
    return counters_of(answer)


def counters_of(answer: Any) -> Counters:
    """Read the counters from the message of Triton's statistics, all versions of a model as one."""
    counters: dict[str, ModelCounters] = {}
    for statistics in answer.model_stats:
        counters[statistics.name] = _added(
            counters.get(statistics.name, ModelCounters()), statistics
        )
    return counters


def counted_between(before: Counters, after: Counters) -> Counters:
    """Return what was counted between two looks, for the models of the later one."""
    return {
        name: counters.since(before.get(name, ModelCounters())) for name, counters in after.items()
    }


def stages() -> list[list[str]]:
    """Return the ensemble's models by the order in which they can run; one list runs side by side.

    A model runs after those whose outputs it takes: the contract's tensors tell.
    """
    level: dict[str, int] = {tensor.name: 0 for tensor in contract.ENSEMBLE.inputs}
    found: dict[int, list[str]] = {}
    for model in contract.STEPS:
        place = max(level[tensor.name] for tensor in model.inputs)
        found.setdefault(place, []).append(model.name)
        level.update({tensor.name: place + 1 for tensor in model.outputs})
    return [found[place] for place in sorted(found)]


def _added(sum_so_far: ModelCounters, statistics: Any) -> ModelCounters:
    times = statistics.inference_stats
    batches = dict(sum_so_far.batches)
    for entry in statistics.batch_stats:
        size = int(entry.batch_size)
        batches[size] = batches.get(size, 0) + int(entry.compute_infer.count)
    return ModelCounters(
        succeeded=sum_so_far.succeeded + int(times.success.count),
        failed=sum_so_far.failed + int(times.fail.count),
        succeeded_ns=sum_so_far.succeeded_ns + int(times.success.ns),
        part_ns={
            part: sum_so_far.part_ns[part] + int(getattr(times, name).ns)
            for part, name in _FIELDS.items()
        },
        batches=batches,
    )


def _mean_ms(total_ns: int, count: int) -> float:
    return total_ns / count / _NS_PER_MS if count else float("nan")
