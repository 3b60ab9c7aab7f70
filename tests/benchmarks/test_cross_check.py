"""The cross-check: perf_analyzer's files, its table, and when the two agree."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thyroid_benchmarks.console import cross_check_lines
from thyroid_benchmarks.cross_check import (
    CrossCheckPlan,
    Point,
    as_dict,
    cross_check,
    scenarios_of,
    sound_subject,
)
from thyroid_benchmarks.generator import Record
from thyroid_benchmarks.measure import Measured, Subject
from thyroid_benchmarks.perf_analyzer_fetch import PerfAnalyzer
from thyroid_benchmarks.perf_analyzer_run import (
    PerfFigures,
    arguments,
    input_data,
    read_figures,
    run_perf_analyzer,
    write_files,
)
from thyroid_benchmarks.performance_comparisons import cross_check_table
from thyroid_benchmarks.pool import Case, Pool
from thyroid_benchmarks.references import Reference, References
from thyroid_benchmarks.report import render_report
from thyroid_benchmarks.results import document
from thyroid_benchmarks.scenarios import Offline, OpenLoop, Scenario
from thyroid_benchmarks.schedule import NS_PER_S, poisson_schedule_ns
from thyroid_benchmarks.summary import summarise
from thyroid_benchmarks.target import OK
from thyroid_benchmarks.verdict import Observed, Rules, judge
from thyroid_pipeline import contract

CASES = (
    Case(0, "corrupt", "black", 0, 0),
    Case(1, "nodule", "PNG", 80, 120),
    Case(2, "no_nodule", "JPEG", 80, 120),
)
RIGHT = {
    index: Reference(True, 0.5, (1, 2, 3, index), b"", frozenset(), 0.0, (0.5, 0.5))
    for index in (1, 2)
}
SUBJECT = Subject(
    "localhost:1",
    Pool(CASES, (b"bad", b"one", b"three"), 1),
    References(RIGHT, "digest"),
    "digest",
    Rules(),
    1,
)
CLOSED, OPENED = scenarios_of(CrossCheckPlan(clients=(4,), rates_per_s=(8.0,)))
TABLE = (
    "Concurrency,Inferences/Second,Client Send,p50 latency,p90 latency,p95 latency,p99 latency\n"
    "4,15.9,0,250000,300000,320000,400000\n"
)


def run_of(scenario: Scenario, service_ms: float, late_ms: float = 0.0) -> Measured:
    """One answer every `service_ms`, each sent `late_ms` after it was due."""
    service_ns, late_ns = round(service_ms * 1e6), round(late_ms * 1e6)
    done = np.arange(1, round(20 * NS_PER_S / service_ns), dtype=np.int64) * service_ns
    sent = done - service_ns
    outcome = (OK,) * done.size
    record = Record(sent - late_ns, sent, done, done * 0, np.arange(done.size), outcome, 0, 0)
    summary = summarise(record, scenario, np.array([True]))
    observed = Observed(0.01, 0.0, 0.0, 50, (), references=True)
    verdict = judge(summary, observed, None, Rules(), is_open=scenario.is_open)
    return Measured(scenario, record, summary, observed, verdict, None)


def figures(service_ms: float) -> PerfFigures:
    return PerfFigures(1000 / service_ms, service_ms, service_ms)


def point(ours_ms: Sequence[float], theirs_ms: Sequence[float], **options: Any) -> Point:
    runs = tuple(run_of(CLOSED, ms, **options) for ms in ours_ms)
    return Point(CLOSED, runs, tuple(figures(ms) for ms in theirs_ms))


def test_the_input_data_hold_the_images_as_bytes_tensors() -> None:
    rows = json.loads(input_data([b"one", b"\x00\xff"]))["data"]
    contents = [base64.b64decode(row[contract.IMAGE.name]["b64"]) for row in rows]
    assert contents == [struct.pack("<I", 3) + b"one", struct.pack("<I", 2) + b"\x00\xff"]
    assert rows[0][contract.IMAGE.name]["shape"] == [1]


def test_an_open_loop_offers_our_very_arrivals(tmp_path: Path) -> None:
    write_files(OPENED, [b"one"], tmp_path)
    assert isinstance(OPENED.load, OpenLoop)
    gaps_us = [int(line) for line in (tmp_path / "intervals.txt").read_text().split()]
    wanted_us = poisson_schedule_ns(OPENED.load.stages, OPENED.load.seed) / 1000
    assert len(gaps_us) == wanted_us.size
    np.testing.assert_allclose(np.cumsum(gaps_us), wanted_us, atol=wanted_us.size)
    assert "--request-intervals" in arguments(OPENED, "localhost:1", tmp_path)


def test_a_closed_loop_has_its_clients_and_the_same_time(tmp_path: Path) -> None:
    told = arguments(CLOSED, "localhost:1", tmp_path)
    assert told[told.index("--concurrency-range") + 1] == "4"
    # 18 s in three windows.
    assert told[told.index("--measurement-interval") + 1] == "6000"
    with pytest.raises(TypeError, match="the load is Offline"):
        arguments(replace(CLOSED, load=Offline(10)), "localhost:1", tmp_path)
    with pytest.raises(ValueError, match="a warm-up of 2 s; none was wanted"):
        arguments(replace(CLOSED, warmup_s=2), "localhost:1", tmp_path)


def test_its_table_is_read() -> None:
    assert read_figures(TABLE) == PerfFigures(15.9, 250.0, 320.0)
    for text in ("", TABLE.replace("p95", "p96"), TABLE + "8,1,0,1,1,1,1\n"):
        with pytest.raises(ValueError, match="one run with 'Inferences/Second'"):
            read_figures(text)


def test_it_runs_with_its_own_libraries() -> None:
    commands: list[list[str]] = []

    def run(command: Sequence[str]) -> None:
        commands.append(list(command))
        Path(command[list(command).index("-f") + 1]).write_text(TABLE)

    program = PerfAnalyzer(Path("/opt/perf_analyzer"), (Path("/opt/a"), Path("/opt/b")))
    assert run_perf_analyzer(program, CLOSED, "localhost:1", [b"one"], run).rate_per_s == 15.9
    (command,) = commands
    assert command[:3] == ["env", "LD_LIBRARY_PATH=/opt/a:/opt/b", "/opt/perf_analyzer"]


def test_corrupt_images_are_left_out_with_their_answers_in_place() -> None:
    sound = sound_subject(SUBJECT)
    assert sound.pool.contents == (b"one", b"three")
    assert [case.index for case in sound.pool.cases] == [0, 1]
    assert sound.references is not None
    assert sound.references.answers == {0: RIGHT[1], 1: RIGHT[2]}
    assert sound.has_right_answers


def test_both_agree_within_a_tenth_either_way() -> None:
    assert point([60, 60], [63, 64]).reasons() == []
    assert point([60, 60], [56, 56]).agrees("rate_per_s")
    assert not point([60, 60], [70, 70]).agrees("p50_ms")
    assert not point([70, 70], [60, 60]).agrees("p50_ms")


def test_where_they_differ_it_says_why() -> None:
    swinging = point([60, 60, 60], [45, 80, 80]).reasons()
    assert any("both sides of 1" in reason for reason in swinging)
    few = point([200, 200], [300, 300]).reasons()
    assert any("a 95th percentile of 90 screenings" in reason for reason in few)
    assert point([60, 60], [80, 80]).reasons() == [
        "nothing seen here explains it: look at both before citing either"
    ]


def test_a_round_that_is_invalid_is_left_out() -> None:
    # 500 ms an answer are too few requests for a run to be VALID.
    one_left = point([60, 500], [61, 700])
    assert one_left.agrees("p50_ms")
    assert one_left.as_dict()["figures"]["p50_ms"]["ours"] == pytest.approx([60])
    none_left = point([500, 500], [500, 500])
    assert none_left.ratio("p50_ms") is None
    assert none_left.agrees("p50_ms") is None
    assert any("is INVALID and left out: requests: 36" in told for told in none_left.reasons())
    part = as_dict([none_left], None)
    json.dumps(part, allow_nan=False)
    assert "p50_ms ? (INVALID)" in cross_check_lines(part)
    table = cross_check_table({"cross_check": part})
    assert "not judged: INVALID | **0 of 2** |" in table


def test_ours_counts_from_sending_too() -> None:
    assert point([60], [60], late_ms=30).our_figures("p50_ms") == pytest.approx([60])


def test_both_count_the_same_stretch(tmp_path: Path) -> None:
    """Ours from the first request to the end of the load, as perf_analyzer's windows reach."""
    told = arguments(OPENED, "localhost:1", tmp_path)
    windows_s = 3 * int(told[told.index("--measurement-interval") + 1]) / 1000
    # Quick answers within that stretch, slow ones that come after it: only the quick ones count.
    sent = np.array([0.1, 5.0, windows_s - 1, windows_s - 0.5]) * NS_PER_S
    took = np.array([0.1, 0.1, 0.1, 3.0]) * NS_PER_S
    run = run_of(OPENED, 60)
    record = replace(
        run.record,
        sent_ns=sent.astype(np.int64),
        done_ns=(sent + took).astype(np.int64),
        outcome=(OK,) * 4,
    )
    both = Point(OPENED, (replace(run, record=record),), (figures(100),))
    assert both.our_figures("p95_ms") == pytest.approx([100])
    assert OPENED.warmup_s == CLOSED.warmup_s == 0


async def test_both_measure_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    async def measure(scenario: Scenario, subject: Subject) -> Measured:
        order.append("ours")
        return run_of(scenario, 60)

    def analyze(scenario: Scenario, subject: Subject) -> PerfFigures:
        order.append("theirs")
        return figures(61)

    monkeypatch.setattr("thyroid_benchmarks.cross_check.measure", measure)

    async def warm(subject: Subject, seconds: float) -> None:
        order.append(f"{seconds:g} s of warm-up")

    plan = CrossCheckPlan(clients=(1,), rates_per_s=(8.0,), rounds=2)
    points = await cross_check(plan, SUBJECT, analyze, lambda _: None, warm)
    assert order[1::2] == ["ours", "theirs", "theirs", "ours"] * 2
    assert set(order[::2]) == {"2 s of warm-up"}
    assert [point.scenario.name for point in points] == ["1 clients", "server at 8/s"]
    assert all(len(point.ours) == len(point.theirs) == 2 for point in points)


def test_the_page_shows_it_or_why_not(checkout: Path) -> None:
    def page(part: dict[str, Any]) -> str:
        part = json.loads(json.dumps(part, allow_nan=False))
        whole = document(
            SUBJECT, started="2026-01-01T00:00:00", checkout=checkout, parts={"cross_check": part}
        )
        return render_report(whole)

    html = page(as_dict([point([60, 60], [80, 80])], None))
    assert "nothing seen here explains it" in html
    assert '<td class="failed">no</td>' in html
    assert "Not done: the machine is another" in page(as_dict([], "the machine is another"))
    assert "the machine is another" in cross_check_lines(as_dict([], "the machine is another"))
    assert "DIFFERS" in cross_check_lines(as_dict([point([60, 60], [80, 80])], None))
