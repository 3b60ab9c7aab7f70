"""From the record of a run to its figures. Pure functions on arrays.

What counts: a *screening* is the right answer to an image that can be screened. Refusals of corrupt
images are right answers too, but cost the networks nothing, so that they stand apart and are in no
rate and no percentile of screenings.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_benchmarks.estimates import PERCENTILES, Estimate, mean, percentile, share
from thyroid_benchmarks.generator import Record
from thyroid_benchmarks.scenarios import Offline, Scenario
from thyroid_benchmarks.schedule import NS_PER_S
from thyroid_benchmarks.target import OK, TURNED_AWAY

NS_PER_MS = 1_000_000
WINDOWS = 8


@dataclass(frozen=True)
class Window:
    """One of the equal parts into which the counted time is divided.

    Attributes:
        rate_per_s: Screenings that were done in it, for each second.
        median_ms: Of the latencies of the screenings that were due in it, with its interval.
    """

    rate_per_s: float
    median_ms: Estimate


@dataclass(frozen=True)
class Summary:
    """The figures of a run, without its warm-up.

    Attributes:
        duration_s: Of what is counted.
        requests: How many were due in that time, whatever became of them.
        screenings: How many of these were right answers to images that can be screened.
        refusals: How many were right refusals.
        failures: How many of the others there were, by kind, `Shed` for those never sent.
        offered_per_s: Requests due per second.
        rate_per_s: Screenings done per second; the interval from the windows' rates.
        goodput_per_s: Screenings done within the bound, likewise; None where there is no bound.
        within_bound: Share of the screenings within the bound, likewise.
        latency_ms: By percentile; of queries in multi stream, of screenings else. Empty offline.
        mean_ms: Mean latency, likewise of queries in multi stream.
        image_mean_ms: Mean latency of the screenings, in multi stream as well.
        refusal_median_ms: Median latency of refusals.
        late_ms: How long after its due time a request was sent: median, 99th percentile, largest.
        windows: In order.
    """

    duration_s: float
    requests: int
    screenings: int
    refusals: int
    failures: dict[str, int]
    offered_per_s: float
    rate_per_s: Estimate
    goodput_per_s: Estimate | None
    within_bound: Estimate | None
    latency_ms: dict[float, Estimate]
    mean_ms: float
    image_mean_ms: float
    refusal_median_ms: float
    late_ms: tuple[float, float, float]
    windows: tuple[Window, ...]

    @property
    def failed(self) -> int:
        """How many requests failed."""
        return sum(self.failures.values())

    @property
    def turned_away(self) -> int:
        """How many of those that failed were turned away because the server was overloaded."""
        return self.failures.get(TURNED_AWAY, 0)

    @property
    def turned_away_share(self) -> float:
        """Which share of the requests that was."""
        return self.turned_away / max(self.requests, 1)


def summarise(record: Record, scenario: Scenario, sound: npt.NDArray[np.bool_]) -> Summary:
    """Compute a run's figures.

    Args:
        record: What became of every request.
        scenario: What was run.
        sound: bool [images of the pool], whether each can be screened.

    Returns:
        The figures; NaN where nothing was counted.
    """
    load = scenario.load
    first_ns = record.start_ns + round(scenario.warmup_s * NS_PER_S)
    if isinstance(load, Offline):
        last_ns = int(record.done_ns.max(initial=first_ns))
        counted = record.done_ns > first_ns
    else:
        last_ns = record.start_ns + round(load.duration_s * NS_PER_S)
        counted = (record.scheduled_ns >= first_ns) & (record.scheduled_ns < last_ns)
    duration_s = max((last_ns - first_ns) / NS_PER_S, 1e-9)
    right = np.array([outcome == OK for outcome in record.outcome], bool)
    is_sound = sound[record.image]

    latency_ms = (record.done_ns - record.scheduled_ns) / NS_PER_MS
    screened = counted & right & is_sound
    due_ns, query_ms = _by_query(record, screened, latency_ms)
    done = right & is_sound & (record.done_ns > first_ns) & (record.done_ns <= last_ns)
    edges_ns = np.linspace(first_ns, last_ns, WINDOWS + 1)
    window_s = duration_s / WINDOWS
    rates = np.histogram(record.done_ns[done], edges_ns)[0] / window_s
    place = np.clip(np.searchsorted(edges_ns, due_ns, "right") - 1, 0, WINDOWS - 1)

    goodput = within = None
    if scenario.bound_ms is not None:
        quick = done & (latency_ms <= scenario.bound_ms)
        goodput = mean(list(np.histogram(record.done_ns[quick], edges_ns)[0] / window_s))
        within = share(int((query_ms <= scenario.bound_ms).sum()), query_ms.size)
    failures = Counter(
        outcome
        for outcome, one in zip(record.outcome, counted, strict=True)
        if one and outcome != OK
    )
    if record.shed:
        failures["Shed"] = record.shed
    late = (record.sent_ns - record.scheduled_ns)[counted] / NS_PER_MS
    refused = counted & right & ~is_sound
    return Summary(
        duration_s=duration_s,
        requests=int(counted.sum()) + record.shed,
        screenings=int(screened.sum()),
        refusals=int(refused.sum()),
        failures=dict(failures),
        offered_per_s=(int(counted.sum()) + record.shed) / duration_s,
        rate_per_s=mean(list(rates)),
        goodput_per_s=goodput,
        within_bound=within,
        latency_ms={}
        if isinstance(load, Offline)
        else {percent: percentile(query_ms, percent) for percent in PERCENTILES},
        mean_ms=_mean(query_ms),
        image_mean_ms=_mean(latency_ms[screened]),
        refusal_median_ms=percentile(latency_ms[refused], 50).value,
        late_ms=(
            (float(np.median(late)), float(np.percentile(late, 99)), float(late.max()))
            if late.size
            else (0.0, 0.0, 0.0)
        ),
        windows=tuple(
            Window(float(rates[index]), percentile(query_ms[place == index], 50))
            for index in range(WINDOWS)
        ),
    )


def cpu_ms_per_screening(
    record: Record, is_sound: npt.NDArray[np.bool_], served_s: float
) -> float | None:
    """Divide a server's processor time among all that it screened; None where that is nothing.

    What it refused counts in the time and not among the screenings, as in every rate.

    Args:
        record: The whole run, warm-up included.
        is_sound: bool [images of the pool], whether each can be screened.
        served_s: Processor time over the whole run.
    """
    is_right = np.array([outcome == OK for outcome in record.outcome], bool)
    screened = int((is_right & is_sound[record.image]).sum())
    return 1000 * served_s / screened if screened else None


def drift(summary: Summary) -> float:
    """Return by how much the run was not steady.

    The windows' median latencies in the first half of the run are compared with those in the
    second; the windows' rates where the run reports no latency. Where the halves overlap the
    difference may be chance: queues alone make medians wander. That all of one half are above all
    of the other happens by chance once in 35 runs of 8 windows (Mann and Whitney, 1947).

    Returns:
        How far the ratio of the halves' medians is from 1, upwards: 0.1 where one is 1.1 times the
        other; 0 where the halves overlap. NaN where a half has no screening.
    """
    figures = np.array(
        [
            window.median_ms.value if summary.latency_ms else window.rate_per_s or math.nan
            for window in summary.windows
        ]
    )
    halves = [half[~np.isnan(half)] for half in np.split(figures, 2)]
    if not all(half.size for half in halves):
        return math.nan
    higher, lower = sorted(halves, key=np.median, reverse=True)
    if higher.min() <= lower.max():
        return 0.0
    return float(np.median(higher) / np.median(lower)) - 1


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else math.nan


def _by_query(
    record: Record, chosen: npt.NDArray[np.bool_], latency_ms: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return when each query was due and how long its slowest chosen request took."""
    queries, index = np.unique(record.query[chosen], return_inverse=True)
    slowest_ms = np.zeros(queries.size)
    np.maximum.at(slowest_ms, index, latency_ms[chosen])
    due_ns = np.zeros(queries.size, np.int64)
    due_ns[index] = record.scheduled_ns[chosen]
    return due_ns, slowest_ms
