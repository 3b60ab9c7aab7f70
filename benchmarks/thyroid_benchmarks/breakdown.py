"""Where the time of a screening goes: parts that add up to the end-to-end time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from thyroid_benchmarks.server_times import PARTS, Counters, ModelCounters
from thyroid_pipeline import contract

TRANSPORT = "transport and client"
BETWEEN = "between the steps"
INFERENCE = "inference"
CORE_WAIT = "core wait"
ROW_PARTS = ("queue", "input", CORE_WAIT, INFERENCE, "output")
"""What a model's time is divided into: Triton's parts, and of its inference the wait for a core."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: A model's name, `BETWEEN`, or `TRANSPORT`.
        mean_ms: What it takes of a screening on average.
        part_ms: The model's own parts by name of `ROW_PARTS`; empty where it is none. `CORE_WAIT`
            is missing where the server does not tell it: then it is within the inference.
        overhead_ms: What Triton counts for the model's requests beyond its parts.
        mean_batch: Mean size of its batches; NaN where it is no model.
        counts: Whether it is part of the sum. Of steps that run side by side only the longest is.
    """

    name: str
    mean_ms: float
    part_ms: dict[str, float]
    overhead_ms: float
    mean_batch: float
    counts: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for a report; NaN, which JSON has not, as None."""
        fields = asdict(self)
        fields["mean_batch"] = None if math.isnan(self.mean_batch) else self.mean_batch
        return fields


@dataclass(frozen=True)
class Breakdown:
    """The table.

    Attributes:
        rows: Those that count add up to `end_to_end_ms`.
        server_ms: Mean time of a screening in the server, as Triton counts it.
        end_to_end_ms: Mean latency as the client saw it.
    """

    rows: tuple[Row, ...]
    server_ms: float
    end_to_end_ms: float

    def as_dict(self) -> dict[str, Any]:
        """Return the table for a report."""
        return {
            "rows": [row.as_dict() for row in self.rows],
            "server_ms": self.server_ms,
            "end_to_end_ms": self.end_to_end_ms,
        }


def break_down(
    counted: Counters,
    stages: Sequence[Sequence[str]],
    end_to_end_ms: float,
    core_wait_ms: Mapping[str, float] = MappingProxyType({}),
) -> Breakdown | None:
    """Divide the mean end-to-end time of a screening.

    What is left of the ensemble's own time when the steps are taken away is what passes between
    them: scheduling and copying. It may be a little below 0: a refused image counts in the step
    that refused it and not in the ensemble, and where steps run side by side the mean of the longer
    ones is above the longer of the means. What is left of the end-to-end time is transport and
    client, and in an open loop the wait before the request was sent.

    Args:
        counted: Triton's counters of the run.
        stages: The ensemble's models in order; those of one stage run side by side.
        end_to_end_ms: Mean latency of a screening as the client saw it.
        core_wait_ms: Mean wait of a run for a core by the model's name, which Triton counts among
            the inference; a model of which the server does not tell it is missing.

    Returns:
        The table; None where the server has counted no screening.
    """
    ensemble = counted.get(contract.ENSEMBLE.name)
    if ensemble is None or not ensemble.succeeded:
        return None
    rows = []
    rest_ms = ensemble.mean_ms
    for stage in stages:
        models = {name: counted[name] for name in stage if _was_asked(counted, name)}
        if not models:
            continue
        longest = max(models, key=lambda name: models[name].mean_ms)
        rest_ms -= models[longest].mean_ms
        rows += [
            _row(name, model, core_wait_ms.get(name), counts=name == longest)
            for name, model in models.items()
        ]
    rows.append(_plain(BETWEEN, rest_ms))
    rows.append(_plain(TRANSPORT, end_to_end_ms - ensemble.mean_ms))
    return Breakdown(tuple(rows), ensemble.mean_ms, end_to_end_ms)


def _was_asked(counted: Counters, name: str) -> bool:
    return name in counted and counted[name].succeeded > 0


def _row(name: str, model: ModelCounters, wait_ms: float | None, *, counts: bool) -> Row:
    parts = {part: model.part_ms(part) for part in PARTS}
    overhead = model.mean_ms - sum(parts.values())
    if wait_ms is not None:
        # The two looks at the server are moments apart: no more waits than there was time.
        parts[CORE_WAIT] = min(wait_ms, parts[INFERENCE])
        parts[INFERENCE] -= parts[CORE_WAIT]
    return Row(name, model.mean_ms, parts, overhead, model.mean_batch, counts)


def _plain(name: str, mean_ms: float) -> Row:
    return Row(name, mean_ms, {}, 0.0, math.nan, counts=True)
