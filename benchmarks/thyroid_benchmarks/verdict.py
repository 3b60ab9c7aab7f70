"""Whether a run may be believed: VALID or INVALID, and why. A pure function of its figures."""

from __future__ import annotations

import math
from dataclasses import dataclass

from thyroid_benchmarks.memory import MemoryTrend
from thyroid_benchmarks.summary import Summary

FAILURES_CHECK = "failures"
LATE_CHECK = "late dispatches"
GENERATOR_CHECK = "generator's CPU"


@dataclass(frozen=True)
class Rules:
    """What a run must keep to.

    Attributes:
        min_duration_s: Counted time.
        min_requests: Counted requests.
        max_failed_share: Of the counted requests, wrong answers included. Where the load is not
            level, those that an overloaded server turned away are left out: that is what such a
            load asks for.
        max_generator_share: CPU time of the process that makes the load, of all cores.
        max_late_ms: 99th percentile of the delay with which an open loop sent. An event loop's
            timers are coarse to 1 ms.
        max_drift: See `summary.drift`; only where the load is level.
        min_compared: Answers that were compared in full with the offline pipeline's.
        max_disturbance: Share of all cores that others used just before the load began and during
            it, and that the hypervisor took away during it.
        max_memory_growth: Of a soak, see `memory.MemoryTrend.growth`.
    """

    min_duration_s: float = 10.0
    min_requests: int = 50
    max_failed_share: float = 0.0
    max_generator_share: float = 0.10
    max_late_ms: float = 10.0
    max_drift: float = 0.10
    min_compared: int = 10
    max_disturbance: float = 0.05
    max_memory_growth: float = 0.03


@dataclass(frozen=True)
class Observed:
    """What was seen beside the requests themselves.

    Attributes:
        generator_share: CPU time of the generator's process, as a share of all cores.
        others_share: Share of all cores in use in the second before the load began.
        stolen_share: Share of all cores that the hypervisor took away during the load.
        compared: How many answers were compared in full.
        faults: What was wrong with those that differ.
        references: Whether there were right answers to compare with, made from the weights served.
        memory: Of the server, where the run watched it; None where it did not, or could not.
        others_during_share: Share of the machine's cores that was used during the load by neither
            the generator nor the server; None where that was not looked at.
    """

    generator_share: float
    others_share: float
    stolen_share: float
    compared: int
    faults: tuple[str, ...]
    references: bool
    memory: MemoryTrend | None = None
    others_during_share: float | None = None


@dataclass(frozen=True)
class Check:
    """One rule and whether it was kept.

    Attributes:
        name: Of the rule.
        passed: Whether it was kept.
        came: What was seen, in words.
        wanted: What the rule asks for, in words.
    """

    name: str
    passed: bool
    came: str
    wanted: str


@dataclass(frozen=True)
class Verdict:
    """The checks of a run."""

    checks: tuple[Check, ...]

    @property
    def valid(self) -> bool:
        """Whether every rule was kept."""
        return all(check.passed for check in self.checks)

    @property
    def word(self) -> str:
        """VALID or INVALID."""
        return "VALID" if self.valid else "INVALID"

    @property
    def reasons(self) -> tuple[str, ...]:
        """What speaks against the run."""
        return tuple(
            f"{check.name}: {check.came}, wanted {check.wanted}"
            for check in self.checks
            if not check.passed
        )


def judge(
    summary: Summary,
    observed: Observed,
    drift: float | None,
    rules: Rules,
    *,
    is_open: bool,
    is_level: bool = True,
    watches_memory: bool = False,
) -> Verdict:
    """Judge a run.

    Args:
        summary: Its figures.
        observed: What was seen beside them.
        drift: See `summary.drift`; None where the load is not level and there is nothing to drift.
        rules: What to keep to.
        is_open: Whether latencies count from scheduled times, so that lateness of the generator
            would be counted as the server's.
        is_level: Whether the load is the same throughout; else the server may turn requests away.
        watches_memory: Whether the server's memory must have been watched.

    Returns:
        All checks that apply.
    """
    checks = [
        Check(
            "duration",
            summary.duration_s >= rules.min_duration_s * (1 - 1e-9),
            f"{summary.duration_s:.1f} s",
            f"{rules.min_duration_s:g} s or more",
        ),
        Check(
            "requests",
            summary.requests >= rules.min_requests,
            f"{summary.requests}",
            f"{rules.min_requests} or more",
        ),
        _failures(summary, rules.max_failed_share, is_level=is_level),
        _share(GENERATOR_CHECK, observed.generator_share, rules.max_generator_share),
        _share("others on the machine", observed.others_share, rules.max_disturbance),
        _share("time stolen by the hypervisor", observed.stolen_share, rules.max_disturbance),
        Check(
            "answers",
            observed.references and not observed.faults and observed.compared >= rules.min_compared,
            _answers(observed),
            f"{rules.min_compared} or more compared with the offline pipeline, all equal",
        ),
    ]
    if observed.others_during_share is not None:
        checks.append(
            _share("others during the load", observed.others_during_share, rules.max_disturbance)
        )
    if is_open:
        late_ms = summary.late_ms[1]
        checks.append(
            Check(
                LATE_CHECK,
                late_ms <= rules.max_late_ms,
                f"99% within {late_ms:.2f} ms",
                f"99% within {rules.max_late_ms:g} ms",
            )
        )
    if drift is not None:
        checks.append(
            Check(
                "drift",
                not math.isnan(drift) and drift <= rules.max_drift,
                "no screening in one half"
                if math.isnan(drift)
                else f"{drift:.1%} between the halves",
                f"{rules.max_drift:.0%} or less",
            )
        )
    if watches_memory:
        checks.append(_memory(observed.memory, rules.max_memory_growth))
    return Verdict(tuple(checks))


def _failures(summary: Summary, wanted: float, *, is_level: bool) -> Check:
    """Judge what failed; the server may turn requests away where the load is not level."""
    allowed = 0 if is_level else summary.turned_away
    failed_share = (summary.failed - allowed) / max(summary.requests, 1)
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(summary.failures.items()))
    came = f"{failed_share:.2%} of {summary.requests}" + (f" ({kinds})" if kinds else "")
    return Check(
        FAILURES_CHECK,
        failed_share <= wanted and summary.screenings > 0,
        f"{came}, those turned away left out" if allowed else came,
        f"{wanted:.2%} or less, and a screening",
    )


def _memory(memory: MemoryTrend | None, wanted: float) -> Check:
    came = "not watched, the server's process was not found on this machine"
    growth = math.nan if memory is None else memory.growth
    if memory is not None:
        came = "too few samples"
    if memory is not None and not math.isnan(growth):
        slope = memory.slope_mb_per_hour
        ends = "" if slope.low is None else f" ({slope.low:.1f} to {slope.high:.1f})"
        came = f"{growth:+.1%} by the end, {slope.value:.1f}{ends} MB an hour"
    # NaN is not within anything.
    return Check("memory", growth <= wanted, came, f"{wanted:.0%} or less")


def _share(name: str, came: float, wanted: float) -> Check:
    return Check(name, came <= wanted, f"{came:.1%} of all cores", f"{wanted:.0%} or less")


def _answers(observed: Observed) -> str:
    if not observed.references:
        return "there were no right answers made from the weights served"
    if observed.faults:
        return f"{len(observed.faults)} of {observed.compared} differ ({observed.faults[0]})"
    return f"{observed.compared} compared, all equal"
