"""Targets: met, missed, doubtful, not measured; against figures that leave no doubt which."""

from __future__ import annotations

from typing import Any

import pytest

from small_results import (
    DRIFTED,
    FLOOR,
    checked,
    comparison,
    contestant,
    document,
    estimate,
    point,
    run,
)
from thyroid_benchmarks.estimates import Estimate
from thyroid_benchmarks.markdown import NONE
from thyroid_benchmarks.performance_targets import Target, main_figures_table, target_table
from thyroid_benchmarks.run_off import RunOff

ALONE = {**estimate(0.97, 0.96, 0.98), "floor": "sequential"}
MANY = {**estimate(0.90, 0.89, 0.91), "floor": "parallel"}
KNEE = {
    "passed_per_s": 12.0,
    "failed_per_s": 14.0,
    "stopped": "it was sure",
    "probes": [
        {
            "rate_per_s": 12.0,
            "passed": True,
            "confirms": True,
            "run": run("server at 12/s", 12.0),
        },
        {
            "rate_per_s": 14.0,
            "passed": False,
            "confirms": False,
            "run": run("server at 14/s", 13.0, verdict=DRIFTED),
        },
    ],
}
SUITE = document(
    floor=FLOOR,
    knee=KNEE,
    runs=[
        run("single-stream", 9.7, p50_ms=101.0, efficiency=ALONE),
        run("8 clients", 14.4, efficiency=MANY, verdict=DRIFTED),
        run("offline", 22.0),
    ],
)
LAYOUTS = document(
    layouts=comparison(
        {1: (1.01, 1.0), 8: (0.96, 1.0)},
        [contestant("ours", [point(1, 10.0, 1.0), point(8, 16.0, 1.0)])],
    )
)
PEERS = document(
    peers=comparison(
        {1: (1.2, 0.8), 8: (0.90, 1.1)},
        [
            contestant("ours", [point(1, 10.0, 1.0), point(8, 16.0, 1.0, (DRIFTED,))]),
            contestant("tutorial-ensemble", [point(1, 8.0, 0.8), point(8, 8.0, 0.5)]),
        ],
    )
)
CROSS_CHECK = document(cross_check=checked(100.0, 104.0, agrees=True, reasons=[]))


def rows(text: str) -> dict[str, list[str]]:
    lines = [line.strip("|").split(" | ") for line in text.splitlines() if line[:1] == "|"]
    found = [[cell.strip() for cell in line] for line in lines[2:]]
    return {name: cells for name, *cells in found}


@pytest.mark.parametrize(
    ("measured", "at_least", "met"),
    [
        (Estimate(1.2, 1.1, 1.3), True, "yes"),
        (Estimate(1.0, 1.0, 1.0), True, "yes"),
        (Estimate(1.2, 0.9, 1.3), True, "yes, within the spread"),
        (Estimate(1.2, None, 1.3), True, "yes, within the spread"),
        (Estimate(0.9, 0.8, 1.1), True, "**no**, within the spread"),
        (Estimate(0.9, 0.8, 0.99), True, "**no**"),
        (Estimate(0.9, 0.8, 0.99), False, "yes"),
        (Estimate(1.2, 1.1, 1.3), False, "**no**"),
        (None, True, "not measured"),
    ],
)
def test_met(measured: Estimate | None, at_least: bool, met: str) -> None:
    assert Target("x", 1.0, at_least, measured, ("VALID",)).met == met


@pytest.mark.parametrize(
    ("verdicts", "met"),
    [
        (("VALID", "INVALID"), "yes"),
        (("INVALID", "INVALID"), "not judged: INVALID"),
        ((), "not judged: INVALID"),
    ],
)
def test_invalid_runs_meet_nothing(verdicts: tuple[str, ...], met: str) -> None:
    target = Target("x", 1.0, True, Estimate(1.2, 1.1, 1.3), verdicts)
    assert target.met == met
    assert target.row()[2] == ("1.200 (1.100 to 1.300)" if met == "yes" else NONE)


def test_a_ratio_without_a_valid_round_is_not_judged() -> None:
    target = Target("x", 1.0, True, None, ("VALID", "INVALID"))
    assert target.row()[2:4] == [NONE, "not judged: INVALID"]


def test_every_target_has_its_line() -> None:
    found = rows(target_table(SUITE, LAYOUTS, PEERS, CROSS_CHECK, document()))
    assert found["rate over the best fixed layout's, 1 client"] == [
        "at least 0.95",
        "1.010 (0.990 to 1.030)",
        "yes",
        "8 of 8",
    ]
    assert found["rate over the best fixed layout's, 8 clients"][2] == "yes, within the spread"
    assert found["rate over the best peer's, 8 clients"][2:] == ["**no**", "8 of 8"]
    assert found["serving efficiency, 1 client"][2] == "yes"
    assert found["serving efficiency, 8 clients"][1:] == [
        NONE,
        "not judged: INVALID",
        "**0 of 1**",
    ]
    assert found["p50 of one image above the floor's"] == [
        "at most 5 ms",
        "4.0 (1.0 to 7.0) ms",
        "yes, within the spread",
        "1 of 1",
    ]
    assert found["p95 over the best peer's, 8 clients"][2] == "**no**"
    # 1 / 0.5, and the ends 1 / 0.6 and 1 / 0.4.
    tutorial = found["rate over the tutorial ensemble's, 8 clients"]
    assert tutorial == ["at least 1.6", "2.00 (1.67 to 2.50)", "yes", "**1 of 2**"]
    assert found["rate offline"][:3] == [
        "at least 20 screenings/s",
        "22.00 (21.00 to 23.00) screenings/s",
        "yes",
    ]
    assert found["failures in the soak"] == [
        "at most 0",
        "not measured",
        "not measured",
        "**0 of 0**",
    ]
    (agreement,) = [cells for name, cells in found.items() if "perf_analyzer" in name]
    assert agreement == ["at most 0", "0", "yes", "1 of 1"]


@pytest.mark.parametrize(
    ("growth", "failures", "met"),
    [(0.01, {}, ["yes", "yes"]), (0.04, {"UNAVAILABLE": 1}, ["**no**", "**no**"])],
)
def test_a_soak_is_judged(growth: float, failures: dict[str, int], met: list[str]) -> None:
    memory: dict[str, Any] = {"growth": growth, "slope_mb_per_hour": None, "resident_bytes": []}
    soak = run("soak at 10/s", 10.0, failures=failures, observed={"memory": memory})
    found = rows(target_table(SUITE, LAYOUTS, PEERS, CROSS_CHECK, document(runs=[soak])))
    assert [cells[2] for name, cells in found.items() if "soak" in name] == met


def test_peers_that_could_not_be_had_are_not_measured() -> None:
    nothing = RunOff(8, {}, None).as_dict()
    peers = document(peers={**PEERS["peers"], "best": [nothing], "contestants": []})
    found = rows(target_table(SUITE, LAYOUTS, peers, CROSS_CHECK, document()))
    for name, cells in found.items():
        if "peer" in name or "tutorial" in name:
            assert cells[1:3] == ["not measured", "not measured"], name


def test_the_main_figures() -> None:
    found = rows(main_figures_table(SUITE, PEERS))
    assert found["one client, median latency"] == [
        "101.0 (99.0 to 103.0) ms; the networks alone take 97.0 (96.0 to 98.0) ms",
        "1 of 1",
    ]
    # INVALID: it may not be cited.
    assert found["8 clients"] == [NONE, "**0 of 1**"]
    assert found["serving efficiency, 8 clients"] == [NONE, "**0 of 1**"]
    assert found["offline"] == ["22.00 (21.00 to 23.00) screenings/s", "1 of 1"]
    assert found["random arrivals, 99% within 1,000 ms"] == ["up to 12.00/s", "1 of 1"]
    assert found["rate over the tutorial ensemble's, 8 clients"][0] == "2.00 (1.67 to 2.50)"


def test_the_main_figures_leave_out_what_was_not_measured() -> None:
    found = rows(main_figures_table(document(), PEERS))
    assert "offline" not in found
    assert found["serving efficiency, 1 client"] == ["not measured", "**0 of 0**"]
