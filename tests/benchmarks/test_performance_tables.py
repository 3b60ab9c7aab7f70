"""The tables of a suite, read back cell by cell, against results with known figures."""

from __future__ import annotations

from typing import Any

import pytest

from small_results import DRIFTED, FLOOR, document, estimate, run
from thyroid_benchmarks.markdown import table
from thyroid_benchmarks.performance_tables import (
    breakdown_table,
    efficiency_table,
    floor_table,
    knee_table,
    origin_table,
    scenario_table,
    soak_table,
)

PARTS = {"queue": 1.0, "input": 2.0, "core wait": 4.0, "inference": 46.0, "output": 3.0}


def cells(text: str) -> list[dict[str, str]]:
    """The rows of the table in a text, each by the heads of its columns."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    head, rule, *rows = ([part.strip() for part in line.split("|")[1:-1]] for line in lines)
    assert set(rule) == {"---"}
    assert all(len(row) == len(head) for row in rows)
    return [dict(zip(head, row, strict=True)) for row in rows]


def row_of_breakdown(name: str, mean_ms: float, **fields: Any) -> dict[str, Any]:
    plain = {"part_ms": {}, "overhead_ms": 0.0, "mean_batch": None, "counts": True}
    return {"name": name, "mean_ms": mean_ms, **plain, **fields}


def test_a_bar_in_a_cell_begins_no_other_cell() -> None:
    assert table(["what"], [["a|b"]]).splitlines()[-1] == "| a\\|b |"


def test_scenarios_have_their_figures() -> None:
    (row,) = cells(scenario_table(document(runs=[run("server at 8/s", 8.0, p50_ms=1100.0)])))
    assert row["scenario"] == "server at 8/s"
    assert row["loop"] == "open"
    assert row["requests"] == "200"
    assert row["screenings/s"] == "8.00 (7.00 to 9.00)"
    assert row["within the bound/s"] == "7.50 (6.50 to 8.50)"
    assert row["p50, ms"] == "1,100.0 (1,098.0 to 1,102.0)"
    assert row["p99, ms"] == "4,400.0 (4,398.0 to 4,402.0)"
    assert row["verdict"] == "VALID"


def test_an_invalid_run_stands_with_its_reasons() -> None:
    drifted = run("offline", 16.0, verdict=DRIFTED, failures={"WrongAnswer": 3})
    drifted["summary"]["latency_ms"] = {}
    drifted["summary"]["goodput_per_s"] = None
    rows = cells(scenario_table(document(runs=[run("8 clients", 15.0), drifted])))
    assert [row["scenario"] for row in rows] == ["8 clients", "offline"]
    assert rows[1]["failed"] == "3"
    assert rows[1]["p95, ms"] == rows[1]["within the bound/s"] == "–"  # noqa: RUF001
    assert rows[1]["verdict"] == (
        "**INVALID**: drift: 12.0% between the halves, wanted 10% or less"
    )


def test_what_was_turned_away_is_told_apart_from_what_failed() -> None:
    spiked = run("spike to 24/s", 12.0, failures={"ServerOverloaded": 20, "WrongAnswer": 1})
    (row,) = cells(scenario_table(document(runs=[spiked])))
    assert row["failed"] == "21"
    assert row["turned away"] == "10.0%"


def test_an_end_that_is_not_known_is_a_dash() -> None:
    one = run("8 clients", 15.0)
    one["summary"]["latency_ms"]["99"] = estimate(900.0, 880.0, None)
    (row,) = cells(scenario_table(document(runs=[one])))
    assert row["p99, ms"] == "900.0 (880.0 to –)"  # noqa: RUF001


def test_the_floor() -> None:
    rows = cells(floor_table(document(floor=FLOOR)))
    rates = [row["cases/s"].split()[0] for row in rows]
    assert rates == ["10.00", "–", "16.00", "8.00", "14.00"]  # noqa: RUF001
    names = [row["in one process"] for row in rows]
    assert names == ["networks alone"] * 3 + ["whole pipeline"] * 2
    assert rows[1]["how"].startswith("transunet")
    assert rows[2]["median, ms"] == "125.0 (124.0 to 126.0)"
    assert rows[4]["median, ms"] == "140.0 (139.0 to 141.0)"
    *_, missing = cells(floor_table(document(floor={**FLOOR, "pipeline": None})))
    assert missing["how"] == "not measured"


def test_efficiency_and_the_distance_from_the_floor() -> None:
    alone = {**estimate(0.97, 0.9, 1.0), "floor": "sequential"}
    many = {**estimate(0.95, 0.9, 1.0), "floor": "parallel"}
    over_pipeline = {**estimate(1.21, 1.1, 1.3), "floor": "sequential"}
    runs = [
        run(
            "single-stream", 9.7, p50_ms=101.0, efficiency=alone, pipeline_efficiency=over_pipeline
        ),
        run("8 clients", 15.2, efficiency=many, verdict=DRIFTED),
        run("server at 8/s", 8.0),
    ]
    rows = cells(efficiency_table(document(floor=FLOOR, runs=runs)))
    assert [row["closed loop"] for row in rows] == ["single-stream", "8 clients"]
    # 101 less 97; at the widest 99 less 98 and 103 less 96.
    assert rows[0]["p50 above the floor's median, ms"] == "4.0 (1.0 to 7.0)"
    assert rows[0]["floor"] == "sequential"
    assert rows[0]["networks alone, cases/s"] == "10.00 (9.50 to 10.50)"
    assert rows[0]["whole pipeline, cases/s"] == "8.00 (7.50 to 8.50)"
    assert rows[0]["rate over it"] == "1.210 (1.100 to 1.300)"
    assert rows[1]["whole pipeline, cases/s"] == "14.00 (13.00 to 15.00)"
    assert rows[1]["serving efficiency"] == "0.950 (0.900 to 1.000)"
    assert rows[1]["p50 above the floor's median, ms"] == "–"  # noqa: RUF001
    assert rows[1]["verdict"] == "INVALID"


def test_the_breakdown_adds_up_what_counts() -> None:
    parts = {"part_ms": PARTS, "overhead_ms": 0.5, "mean_batch": 1.25}
    rows = [
        row_of_breakdown("resnet18", 56.5, **parts),
        row_of_breakdown("morphology_forest", 7.0, **{**parts, "counts": False}),
        row_of_breakdown("between the steps", 1.5),
        row_of_breakdown("transport and client", 2.0),
    ]
    found = {"rows": rows, "server_ms": 58.0, "end_to_end_ms": 60.0}
    one = run("single-stream", 9.0, breakdown=found)
    *steps, total, missing = cells(breakdown_table(document(runs=[one])))
    assert steps[0]["queue"] == "1.00"
    assert steps[0]["inference"] == "46.00"
    assert steps[0]["core wait"] == "4.00"
    assert steps[2]["core wait"] == "–"  # noqa: RUF001
    assert steps[0]["other"] == "0.50"
    assert steps[0]["batch"] == "1.25"
    assert "not in the sum" in steps[1]["where"]
    assert total["mean, ms"] == "**60.00**"
    assert missing == {**missing, "scenario": "8 clients", "where": "not measured"}


def test_the_knee_shows_every_probe() -> None:
    probes = [
        {
            "rate_per_s": rate,
            "passed": passed,
            "confirms": confirms,
            "run": run("server", rate, verdict=verdict),
        }
        for rate, passed, confirms, verdict in (
            (14.0, False, False, DRIFTED),
            (10.0, True, False, run("", 1)["verdict"]),
            (10.0, True, True, run("", 1)["verdict"]),
        )
    ]
    knee = {"passed_per_s": 10.0, "failed_per_s": 14.0, "stopped": "it was sure", "probes": probes}
    text = knee_table(document(knee=knee))
    assert "**10.00 requests a second passed**" in text
    assert "that failed is 14.00" in text
    rows = cells(text)
    assert "It passed a longer run." in text
    assert [(row["offered/s"], row["passed"], row["run"]) for row in rows] == [
        ("10.00", "yes", "searching"),
        ("10.00", "yes", "confirming"),
        ("14.00", "no", "searching"),
    ]
    assert rows[2]["verdict"].startswith("**INVALID**: drift")


def test_nothing_measured_is_said() -> None:
    empty = document()
    for make in (floor_table, efficiency_table, knee_table):
        assert "not measured" in make(empty)
    assert soak_table(empty) == "A soak was not measured."


def test_the_soak_shows_its_memory() -> None:
    memory = {
        "growth": 0.0123,
        "slope_mb_per_hour": estimate(5.0, -1.0, 11.0),
        "resident_bytes": [2**30, 3 * 2**29],
    }
    one = run("soak at 10/s", 10.0, observed={"memory": memory})
    (row,) = cells(soak_table(document(runs=[one])))
    assert row["resident, GiB"] == "1.00 to 1.50"
    assert row["growth"] == "+1.23%"
    assert row["MB an hour"] == "5.0 (-1.0 to 11.0)"


def test_origins_stand_once_where_they_agree() -> None:
    other = document(started="2026-01-02T00:00:00+00:00")
    text = origin_table(document(), document(), other, document(), document())
    rows = {row[""]: row["measured with"] for row in cells(text)}
    assert rows["commit"] == "0123456789ab"
    assert rows["cores"] == "2 of 4"
    assert rows["versions"] == "Python 3.11.0, onnxruntime 1.20, torch not installed"
    assert rows["begun"].count("2026-01-01") == 4
    assert "peers: 2026-01-02" in rows["begun"]


def test_a_suite_alone_says_where_it_comes_from() -> None:
    rows = {row[""]: row["measured with"] for row in cells(origin_table(document()))}
    assert rows["begun"].startswith("2026-01-01")
    assert rows["commit"] == "0123456789ab"


@pytest.mark.parametrize("changed", [True, False])
def test_a_changed_tree_is_no_commit(changed: bool) -> None:
    one = document(commit={"commit": "0123456789abcdef", "changed": changed})
    assert ("with changes" in origin_table(one, one, one, one, one)) == changed
