"""One measured run: the load, Triton's counters around it, the machine's state, the verdict."""

from __future__ import annotations

import asyncio
import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from thyroid_benchmarks.breakdown import Breakdown, break_down
from thyroid_benchmarks.core_use import CoreUses, read_core_use, used_between
from thyroid_benchmarks.estimates import Estimate
from thyroid_benchmarks.generator import Record, generate
from thyroid_benchmarks.machine import Meter, Shares, others_share
from thyroid_benchmarks.memory import MemoryTrend, sample_memory, server_pid, trend
from thyroid_benchmarks.pool import Pool, order, sound_images
from thyroid_benchmarks.references import References, fits
from thyroid_benchmarks.scenarios import OpenLoop, Scenario
from thyroid_benchmarks.server_times import Counters, counted_between, read_counters, stages
from thyroid_benchmarks.summary import Summary, cpu_ms_per_screening, drift, summarise
from thyroid_benchmarks.target import ScreeningTarget, connect
from thyroid_benchmarks.verdict import Observed, Rules, Verdict, judge
from thyroid_client._address import parse_address


@dataclass(frozen=True)
class Subject:
    """What is measured, and with what.

    Attributes:
        address: Of the server's gRPC port.
        pool: The images.
        references: The right answers; None where they were not computed.
        weights: Digest of the networks that are served; None where that is not known.
        rules: What a run must keep to.
        seed: Of the order in which images are sent.
        metrics: host:port of the server's metrics; None where it is not known.
    """

    address: str
    pool: Pool
    references: References | None
    weights: str | None
    rules: Rules
    seed: int
    metrics: str | None = None

    @property
    def has_right_answers(self) -> bool:
        """Whether the references are those of this pool and of the weights served."""
        return (
            self.references is not None
            and fits(self.pool, self.references)
            and self.weights == self.references.weights
        )


@dataclass(frozen=True)
class Measured:
    """A run and all that is known of it.

    Attributes:
        scenario: What was run.
        record: Every request.
        summary: The figures.
        observed: What was seen beside them.
        verdict: Whether they may be believed.
        breakdown: Where the time went; None where the server did not tell.
        core_use: On how many threads the networks ran, by model, likewise.
        server_cpu_ms: Processor time of all the server's processes for each screening, warm-up
            included; None where the server is not on this machine, or nothing was screened.
    """

    scenario: Scenario
    record: Record
    summary: Summary
    observed: Observed
    verdict: Verdict
    breakdown: Breakdown | None
    core_use: CoreUses | None = None
    server_cpu_ms: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the run for a report; the record, which is large, stays apart."""
        return {
            "scenario": self.scenario.as_dict(),
            "summary": _summary_dict(self.summary),
            "observed": {
                **asdict(replace(self.observed, memory=None)),
                "memory": None if self.observed.memory is None else self.observed.memory.as_dict(),
            },
            "drift": _number(drift(self.summary)),
            "verdict": {
                "word": self.verdict.word,
                "reasons": list(self.verdict.reasons),
                "checks": [asdict(check) for check in self.verdict.checks],
            },
            "breakdown": None if self.breakdown is None else self.breakdown.as_dict(),
            "core_use": None
            if self.core_use is None
            else {name: use.as_dict() for name, use in self.core_use.items()},
            "server_cpu_ms": self.server_cpu_ms,
        }


@dataclass(frozen=True)
class Told:
    """What the server says of itself: Triton's statistics, and who ran on how many cores."""

    counters: Counters
    core_use: CoreUses | None


async def measure(scenario: Scenario, subject: Subject) -> Measured:
    """Run a scenario against a server and judge the run.

    Raises:
        tritonclient.utils.InferenceServerException: The server does not tell its statistics.
    """
    target = connect(subject.address, subject.pool, subject.references)
    grpc_target = parse_address(subject.address, None).target
    busy = others_share()
    pid = server_pid(grpc_target)
    meter = Meter(pid)
    earlier = asyncio.create_task(_told(grpc_target, subject.metrics, after_s=scenario.warmup_s))
    watch = _MemoryWatch(scenario, pid)
    try:
        record = await generate(scenario, target, order(subject.pool, subject.seed))
        shares = meter.shares()
        before, after = await earlier, await _told(grpc_target, subject.metrics)
    finally:
        earlier.cancel()
        watch.stop()
        await target.close()
    told = Told(
        counted_between(before.counters, after.counters),
        used_between(before.core_use, after.core_use),
    )
    return assess(
        scenario,
        subject,
        record,
        target,
        told=told,
        busy=busy,
        shares=shares,
        is_here=pid is not None,
        memory=watch.trend(),
    )


async def measure_target(scenario: Scenario, subject: Subject, target: ScreeningTarget) -> Measured:
    """Run a scenario against a server that this process has started, be it a Triton or not.

    Judges the run and closes the target.
    """
    busy = others_share()
    meter = Meter()
    try:
        record = await generate(scenario, target, order(subject.pool, subject.seed))
        shares = meter.shares()
    finally:
        await target.close()
    return assess(
        scenario,
        subject,
        record,
        target,
        told=Told({}, None),
        busy=busy,
        shares=shares,
        is_here=True,
    )


class _MemoryWatch:
    """Samples the server's memory meanwhile, where the scenario wants it and the server is here."""

    def __init__(self, scenario: Scenario, pid: int | None) -> None:
        self._samples: list[tuple[float, int]] = []
        self._duration_s = 0.0
        self._task: asyncio.Task[None] | None = None
        if scenario.watches_memory and isinstance(scenario.load, OpenLoop):
            self._duration_s = scenario.load.duration_s
            if pid is not None:
                self._task = asyncio.create_task(
                    sample_memory(pid, self._duration_s, self._samples)
                )

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def trend(self) -> MemoryTrend | None:
        if self._task is None:
            return None
        times, sizes = zip(*self._samples, strict=True) if self._samples else ((), ())
        return trend(times, sizes, self._duration_s)


def assess(
    scenario: Scenario,
    subject: Subject,
    record: Record,
    target: ScreeningTarget,
    *,
    told: Told,
    busy: float,
    shares: Shares,
    is_here: bool,
    memory: MemoryTrend | None = None,
) -> Measured:
    """Compute a run's figures and judge it.

    Args:
        scenario: What was run.
        subject: On what.
        record: What became of every request.
        target: Holds the answers that were kept.
        told: What the server has counted after the warm-up.
        busy: Share of all cores that others used before the load.
        shares: Who used the processor during it.
        is_here: Whether the server is on this machine, so that its processor time is known.
        memory: Of the server, where it was watched.
    """
    is_sound = sound_images(subject.pool)
    summary = summarise(record, scenario, is_sound)
    compared, faults = target.compare_kept()
    observed = Observed(
        generator_share=shares.own,
        others_share=busy,
        stolen_share=shares.stolen,
        compared=compared,
        faults=tuple(faults),
        references=subject.has_right_answers,
        memory=memory,
        others_during_share=shares.others,
    )
    verdict = judge(
        summary,
        observed,
        drift(summary) if scenario.is_level else None,
        subject.rules,
        is_open=scenario.is_open,
        is_level=scenario.is_level,
        watches_memory=scenario.watches_memory,
    )
    waits_ms = {name: use.mean_wait_ms for name, use in (told.core_use or {}).items()}
    breakdown = break_down(told.counters, stages(), summary.image_mean_ms, waits_ms)
    cpu_ms = cpu_ms_per_screening(record, is_sound, shares.served_s) if is_here else None
    return Measured(scenario, record, summary, observed, verdict, breakdown, told.core_use, cpu_ms)


async def _told(target: str, metrics: str | None, *, after_s: float = 0.0) -> Told:
    await asyncio.sleep(after_s)
    return Told(await read_counters(target), await read_core_use(metrics))


def _summary_dict(summary: Summary) -> dict[str, Any]:
    def estimate(value: Estimate | None) -> dict[str, float | None] | None:
        return None if value is None else value.as_dict()

    return {
        "duration_s": summary.duration_s,
        "requests": summary.requests,
        "screenings": summary.screenings,
        "refusals": summary.refusals,
        "failures": summary.failures,
        "turned_away_share": summary.turned_away_share,
        "offered_per_s": summary.offered_per_s,
        "rate_per_s": estimate(summary.rate_per_s),
        "goodput_per_s": estimate(summary.goodput_per_s),
        "within_bound": estimate(summary.within_bound),
        "latency_ms": {
            f"{percent:g}": estimate(value) for percent, value in summary.latency_ms.items()
        },
        "mean_ms": _number(summary.mean_ms),
        "image_mean_ms": _number(summary.image_mean_ms),
        "refusal_median_ms": _number(summary.refusal_median_ms),
        "late_ms": dict(zip(("median", "p99", "largest"), summary.late_ms, strict=True)),
        "windows": [
            {"rate_per_s": window.rate_per_s, "median_ms": estimate(window.median_ms)}
            for window in summary.windows
        ],
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
