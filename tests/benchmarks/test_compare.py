"""The regression check: what is compared of two results, and what is left out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from small_results import (
    DRIFTED,
    FLOOR,
    VALID,
    comparison,
    contestant,
    document,
    estimate,
    point,
    ratio,
    run,
)
from thyroid_benchmarks.compare import compare

EFFICIENCY = {**estimate(0.90, 0.89, 0.91), "floor": "parallel"}


def knee(verdict: dict[str, Any]) -> dict[str, Any]:
    probe = {"rate_per_s": 12.0, "passed": True, "confirms": False}
    return {
        "passed_per_s": 12.0,
        "failed_per_s": 13.0,
        "stopped": "it was sure",
        "probes": [{**probe, "run": run("server at 12/s", 12.0, verdict=verdict)}],
    }


def result(verdict: dict[str, Any] = VALID) -> dict[str, Any]:
    ours = contestant("ours", [{**point(8, 16.0, 1.0), "efficiency": estimate(0.90, 0.89, 0.91)}])
    layouts = comparison({8: (0.98, 1.0)}, [ours])
    peers = comparison(
        {8: (0.96, 1.1)}, [ours, contestant("tutorial-ensemble", [point(8, 8.0, 0.5)])]
    )
    made = document(
        floor=FLOOR,
        knee=knee(verdict),
        runs=[
            run(
                "8 clients",
                14.4,
                efficiency=EFFICIENCY,
                pipeline_efficiency=EFFICIENCY,
                verdict=verdict,
            )
        ],
        layouts=layouts,
        peers=peers,
    )
    copied: dict[str, Any] = json.loads(json.dumps(made))
    return copied


def names(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {change.figure for change in compare(before, after).changes}


RATIOS = {
    "8 clients, serving efficiency",
    "8 clients, rate over the whole pipeline's",
    "ours over the best peer, 8 clients, rate",
    "ours over the best peer, 8 clients, p95",
    "ours over the best fixed layout, 8 clients, rate",
    "ours over the best fixed layout, 8 clients, p95",
    "layouts, ours, 8 clients, share of the floor",
    "the tutorial's ensemble over ours, 8 clients, rate",
}
ABSOLUTE = {
    "floor, sequential, cases/s",
    "floor, parallel, cases/s",
    "8 clients, screenings/s",
    "8 clients, p50, ms",
    "8 clients, p95, ms",
    "8 clients, p99, ms",
    "knee, requests/s",
}


def test_efficiency_and_ratios_are_compared() -> None:
    assert names(result(), result()) == RATIOS | ABSOLUTE


def test_a_ratio_that_fell_is_a_regression() -> None:
    after = result()
    after["runs"][0]["efficiency"] = {**estimate(0.7, 0.69, 0.71), "floor": "parallel"}
    after["layouts"]["best"][0]["rate"] = ratio(0.8, 0.01)
    after["peers"]["contestants"][1]["points"][0]["ratios"]["rate_per_s"] = ratio(0.8, 0.01)
    assert {change.figure for change in compare(result(), after).worse} == {
        "8 clients, serving efficiency",
        "ours over the best fixed layout, 8 clients, rate",
        "the tutorial's ensemble over ours, 8 clients, rate",
    }
    assert compare(after, result()).worse == ()


def test_on_another_machine_only_ratios_are_compared() -> None:
    other = result()
    other["machine"]["processor"] = "Slide rule"
    found = compare(result(), other)
    assert {change.figure for change in found.changes} == RATIOS
    assert found.warnings == (
        "the processor differs: Abacus then, Slide rule now; only shares and ratios are compared",
    )
    with pytest.raises(ValueError, match="no ratio in common"):
        compare(document(floor=FLOOR), {**document(floor=FLOOR), "machine": other["machine"]})


@pytest.mark.parametrize("turned", [False, True])
def test_a_run_that_is_invalid_in_either_is_not_compared(turned: bool) -> None:
    pair = (result(), result(DRIFTED))
    before, after = pair[::-1] if turned else pair
    left = names(before, after)
    assert not {name for name in left if name.startswith(("8 clients", "knee"))}
    assert "ours over the best peer, 8 clients, rate" in left
    (told,) = compare(before, after).warnings
    assert told == f"8 clients was INVALID {'then' if turned else 'now'} and is not compared"


def test_a_comparison_says_how_many_of_its_runs_are_out() -> None:
    after = result()
    after["peers"]["invalid"] = [{"run": "ours, 8 clients, round 1", "reasons": []}]
    assert compare(result(), after).warnings == (
        "peers: 1 runs were INVALID now and are in no ratio",
    )
