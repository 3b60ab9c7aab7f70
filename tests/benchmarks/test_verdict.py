"""Every rule of the verdict, broken one at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from thyroid_benchmarks.estimates import Estimate
from thyroid_benchmarks.summary import Summary
from thyroid_benchmarks.verdict import Observed, Rules, judge

GOOD = Summary(
    duration_s=30.0,
    requests=400,
    screenings=380,
    refusals=20,
    failures={},
    offered_per_s=13.3,
    rate_per_s=Estimate(12.7, 12.5, 12.9),
    goodput_per_s=None,
    within_bound=None,
    latency_ms={},
    mean_ms=100.0,
    image_mean_ms=100.0,
    refusal_median_ms=3.0,
    late_ms=(0.5, 1.1, 2.0),
    windows=(),
)
SEEN = Observed(
    generator_share=0.02,
    others_share=0.01,
    stolen_share=0.0,
    compared=80,
    faults=(),
    references=True,
    others_during_share=0.01,
)


def reasons(
    summary: Summary = GOOD,
    observed: Observed = SEEN,
    drift: float | None = 0.02,
    is_open: bool = True,
) -> tuple[str, ...]:
    return judge(summary, observed, drift, Rules(), is_open=is_open).reasons


def test_a_good_run_is_valid() -> None:
    verdict = judge(GOOD, SEEN, 0.02, Rules(), is_open=True)
    assert verdict.valid
    assert verdict.word == "VALID"
    assert verdict.reasons == ()
    assert len(verdict.checks) == 10


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"duration_s": 9.9}, "duration: 9.9 s, wanted 10 s or more"),
        ({"requests": 49}, "requests: 49, wanted 50 or more"),
        ({"failures": {"WrongAnswer": 1}}, "failures: 0.25% of 400 (WrongAnswer 1)"),
        ({"screenings": 0}, "failures: 0.00% of 400"),
        ({"late_ms": (1.0, 10.5, 80.0)}, "late dispatches: 99% within 10.50 ms"),
    ],
)
def test_a_fault_of_the_figures_is_named(changes: dict[str, Any], reason: str) -> None:
    (came,) = reasons(replace(GOOD, **changes))
    assert came.startswith(reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"generator_share": 0.2}, "generator's CPU: 20.0% of all cores"),
        ({"others_share": 0.5}, "others on the machine: 50.0%"),
        ({"others_during_share": 0.06}, "others during the load: 6.0%"),
        ({"stolen_share": 0.06}, "time stolen by the hypervisor: 6.0%"),
        ({"compared": 9}, "answers: 9 compared, all equal, wanted 10 or more"),
        ({"faults": ("image 3: box is",)}, "answers: 1 of 80 differ (image 3: box is)"),
        ({"references": False}, "answers: there were no right answers"),
    ],
)
def test_a_fault_of_the_circumstances_is_named(changes: dict[str, Any], reason: str) -> None:
    (came,) = reasons(observed=replace(SEEN, **changes))
    assert came.startswith(reason)


@pytest.mark.parametrize("drift", [0.11, math.nan])
def test_a_drift_is_named(drift: float) -> None:
    (came,) = reasons(drift=drift)
    assert came.startswith("drift:")


def test_a_load_that_is_not_level_may_be_turned_away_and_never_wrong() -> None:
    spiked = replace(GOOD, failures={"ServerOverloaded": 100})
    assert spiked.turned_away_share == 0.25
    (came,) = reasons(spiked)
    assert came.startswith("failures: 25.00% of 400 (ServerOverloaded 100)")
    assert judge(spiked, SEEN, None, Rules(), is_open=True, is_level=False).valid
    wrong = replace(GOOD, failures={"ServerOverloaded": 100, "WrongAnswer": 1})
    verdict = judge(wrong, SEEN, None, Rules(), is_open=True, is_level=False)
    (came,) = verdict.reasons
    assert came.startswith("failures: 0.25% of 400 (ServerOverloaded 100, WrongAnswer 1)")
    # With nothing answered there is nothing to believe.
    silent = replace(spiked, screenings=0)
    assert not judge(silent, SEEN, None, Rules(), is_open=True, is_level=False).valid


def test_memory_that_was_to_be_watched_and_was_not_is_named() -> None:
    verdict = judge(GOOD, SEEN, 0.02, Rules(), is_open=True, watches_memory=True)
    (came,) = verdict.reasons
    assert came.startswith("memory: not watched")


def test_what_does_not_apply_is_not_asked() -> None:
    assert reasons(drift=None) == ()
    # A closed loop has no schedule to be late for.
    assert reasons(replace(GOOD, late_ms=(50.0, 50.0, 50.0)), is_open=False) == ()


def test_all_faults_are_named_together() -> None:
    bad = replace(GOOD, duration_s=1.0, requests=3)
    assert len(reasons(bad, replace(SEEN, references=False), drift=0.5)) == 4
