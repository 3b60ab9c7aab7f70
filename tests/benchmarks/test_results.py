"""Documents, pages and comparisons of runs on a fake server."""

from __future__ import annotations

import asyncio
import json
import platform
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from thyroid_benchmarks.breakdown import break_down
from thyroid_benchmarks.cli import main
from thyroid_benchmarks.compare import compare
from thyroid_benchmarks.core_use import CoreUse
from thyroid_benchmarks.estimates import Estimate
from thyroid_benchmarks.floor import Floor, Ways
from thyroid_benchmarks.generator import generate
from thyroid_benchmarks.knee import Knee, confirm, find_knee
from thyroid_benchmarks.measure import Measured, Subject
from thyroid_benchmarks.pool import Case, Pool
from thyroid_benchmarks.report import figure, interval, render_report
from thyroid_benchmarks.results import document, read_result, write_result
from thyroid_benchmarks.scenarios import ClosedLoop, OpenLoop, Scenario
from thyroid_benchmarks.schedule import steady
from thyroid_benchmarks.server_times import PARTS, ModelCounters, stages
from thyroid_benchmarks.summary import drift, summarise
from thyroid_benchmarks.verdict import Observed, Rules, judge
from thyroid_pipeline import contract

POOL = Pool((Case(0, "nodule", "PNG", 80, 120),), (b"image",), 1)
SUBJECT = Subject("localhost:1", POOL, None, "0123456789abcdef", Rules(), 1)
SEEN = Observed(0.01, 0.0, 0.0, 50, (), references=True)
FLOOR = Floor(
    cores=2,
    sequential_per_s=Estimate(11.9, 11.7, 12.1),
    sequential_ms=Estimate(84.0, 83.0, 85.0),
    parallel_per_s=Estimate(16.9, 16.7, 17.1),
    parallel_ms=Estimate(118.0, 117.0, 119.0),
    gain=Estimate(1.42, 1.4, 1.44),
    network_ms={"transunet": Estimate(50.0, 49.0, 51.0), "resnet18": Estimate(34.0, 33.0, 35.0)},
    pipeline=Ways(
        sequential_per_s=Estimate(9.9, 9.7, 10.1),
        sequential_ms=Estimate(101.0, 100.0, 102.0),
        parallel_per_s=Estimate(14.9, 14.7, 15.1),
        parallel_ms=Estimate(134.0, 133.0, 135.0),
    ),
)
CLOSED = Scenario("8 clients", ClosedLoop(8, 60), 3, 1000)
OPENED = Scenario("server at 8/s", OpenLoop(steady(8, 60), 1), 3, 1000)


@pytest.fixture
def measured(play: Any, fake_server: Any) -> Callable[..., Measured]:
    """A run as `measure` returns it, on two workers of a known service time."""

    def run(scenario: Scenario, service_s: float = 0.12, observed: Observed = SEEN) -> Measured:
        async def whole(loop: Any) -> Any:
            server = fake_server(loop.time, service_s, workers=2)
            return await generate(scenario, server, [0], loop.time_ns)

        record = play(whole)
        summary = summarise(record, scenario, np.array([True]))
        share_ns = round(service_s * 1e9 / 4)
        model = ModelCounters(100, 0, 100 * share_ns, dict.fromkeys(PARTS, 20 * share_ns), {1: 100})
        counted = {name: model for stage in stages() for name in stage}
        counted[contract.ENSEMBLE.name] = replace(model, succeeded_ns=401 * share_ns)
        verdict = judge(summary, observed, drift(summary), Rules(), is_open=scenario.is_open)
        parts = break_down(counted, stages(), summary.image_mean_ms)
        core_use = {"transunet": CoreUse({1: 90, 2: 10}, 0.5)}
        return Measured(scenario, record, summary, observed, verdict, parts, core_use)

    return run


def result_of(
    checkout: Path, runs: list[Measured], knee: Knee[Measured] | None = None
) -> dict[str, Any]:
    return document(
        SUBJECT, started="2026-01-01T00:00:00+00:00", checkout=checkout, runs=runs, floor=FLOOR,
        knee=knee,
    )  # fmt: skip


@pytest.fixture
def whole(checkout: Path, measured: Callable[..., Measured]) -> dict[str, Any]:
    async def probe(rate: float) -> tuple[bool, Measured]:
        run = probes[rate]
        return run.summary.latency_ms[99.0].value <= 1000, run

    probes = {
        rate: measured(Scenario(f"server at {rate}/s", OpenLoop(steady(rate, 60), 1), 3, 1000))
        for rate in (12.0, 24.0, 18.0)
    }

    async def searched() -> Knee[Measured]:
        return await confirm(await find_knee(probe, 12.0, max_probes=3), probe, resolution=0.1)

    knee = asyncio.run(searched())
    bad = measured(OPENED, observed=replace(SEEN, faults=("image 0: box is",)))
    return result_of(checkout, [measured(CLOSED), bad], knee)


def test_the_document_says_what_was_measured_and_names_no_place(
    whole: dict[str, Any], checkout: Path
) -> None:
    text = json.dumps(whole, allow_nan=False)
    assert platform.node() not in text
    assert str(checkout) not in text
    assert whole["machine"]["cores"] >= 1
    assert whole["machine"]["processor"]
    assert whole["versions"]["numpy"] == np.__version__
    assert whole["seeds"] == {"pool": 1, "order": 1}
    closed, opened = whole["runs"]
    assert closed["verdict"]["word"] == "VALID"
    assert closed["summary"]["rate_per_s"]["value"] == pytest.approx(2 / 0.12, rel=0.02)
    assert closed["efficiency"]["value"] == pytest.approx(2 / 0.12 / 16.9, rel=0.02)
    assert closed["efficiency"]["floor"] == "parallel"
    assert closed["pipeline_efficiency"]["value"] == pytest.approx(2 / 0.12 / 14.9, rel=0.02)
    assert closed["core_use"]["transunet"] == {
        "runs_by_threads": {"1": 90, "2": 10},
        "waited_s": 0.5,
    }
    assert opened["efficiency"] is None
    assert opened["pipeline_efficiency"] is None
    assert whole["floor"]["pipeline"]["parallel_per_s"]["value"] == 14.9
    probes = [(probe["rate_per_s"], probe["confirms"]) for probe in whole["knee"]["probes"]]
    assert probes == [(12.0, False), (24.0, False), (18.0, False), (12.0, True)]
    assert opened["verdict"]["word"] == "INVALID"
    assert "1 of 50 differ" in opened["verdict"]["reasons"][0]


def test_every_latency_is_kept_beside_it(
    tmp_path: Path, checkout: Path, measured: Callable[..., Measured]
) -> None:
    run = measured(CLOSED)
    result = result_of(checkout, [run])
    path = write_result(tmp_path, result, [run])
    assert read_result(path) == json.loads(json.dumps(result))
    (kept,) = (tmp_path / "latencies").glob("*.npz")
    assert kept.name == "00-8-clients.npz"
    with np.load(kept) as arrays:
        np.testing.assert_array_equal(
            arrays["done_ns"] - arrays["scheduled_ns"],
            run.record.done_ns - run.record.scheduled_ns,
        )
        assert set(arrays["outcome"]) == {"ok"}


def test_an_earlier_result_is_replaced_with_its_latencies(
    tmp_path: Path, checkout: Path, measured: Callable[..., Measured]
) -> None:
    closed, opened = measured(CLOSED), measured(OPENED)
    write_result(tmp_path, result_of(checkout, [opened]), [opened, closed])
    path = write_result(tmp_path, result_of(checkout, [closed]), [closed])
    assert [run["scenario"]["name"] for run in read_result(path)["runs"]] == ["8 clients"]
    assert [kept.name for kept in (tmp_path / "latencies").iterdir()] == ["00-8-clients.npz"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["latencies", "result.json"]


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('{"schema": 99}')
    with pytest.raises(ValueError, match="measure again with this version"):
        read_result(path)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open_tags: list[str] = []
        self.counts: dict[str, int] = {}
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.outside += [value or "" for name, value in attrs if name in {"src", "href"} and value]


def test_the_page_is_self_contained_and_shows_everything(whole: dict[str, Any]) -> None:
    html = render_report(whole)
    page = _Page()
    page.feed(html)
    assert page.counts["svg"] == 3  # percentiles, breakdown, curve
    assert "script" not in page.counts
    # References within the drawings only (clip paths and glyphs).
    assert all(target.startswith(("#", "data:")) for target in page.outside)
    assert re.search(r'class="INVALID">INVALID:</span>\s*server at 8/s', html)
    assert "1 of 50 differ (image 0: box is)" in html
    assert "morphology_forest (beside)" in html
    assert "0123456789abcdef" in html
    assert "closed" in html
    assert "whole pipeline, 2 at once, one thread each" in html
    assert "14.90 (14.70 to 15.10)" in html
    assert "confirming" in html
    assert "transunet 90 on 1, 10 on 2" in html


def test_a_page_of_little_is_a_page(checkout: Path) -> None:
    empty = document(SUBJECT, started="2026-01-01T00:00:00+00:00", checkout=checkout)
    html = render_report(empty)
    assert "Versions" in html
    assert "<svg" not in html


def test_numbers_are_written_with_their_intervals() -> None:
    assert figure(1234.56) == "1,234.6"
    assert interval({"value": 10.0, "low": 9.0, "high": None}) == "10.0 (9.0 to \N{EN DASH})"
    assert interval({"value": None, "low": None, "high": None}) == "\N{EN DASH}"


def test_a_slower_server_is_a_regression(checkout: Path, measured: Callable[..., Measured]) -> None:
    before = result_of(checkout, [measured(CLOSED, 0.12)])
    slower = result_of(checkout, [measured(CLOSED, 0.135)])
    comparison = compare(before, slower)
    assert [change.figure for change in comparison.worse] == [
        "8 clients, screenings/s",
        "8 clients, p50, ms",
        "8 clients, p95, ms",
        "8 clients, p99, ms",
        "8 clients, serving efficiency",
        "8 clients, rate over the whole pipeline's",
    ]
    rate = comparison.worse[0].ratio
    assert rate.value == pytest.approx(0.12 / 0.135, rel=0.02)
    assert comparison.warnings == ()
    assert compare(slower, before).worse == ()
    assert compare(before, before).worse == ()
    assert compare(before, slower, allowed=0.2).worse == ()


def test_a_change_within_the_spread_is_no_regression(
    checkout: Path, measured: Callable[..., Measured]
) -> None:
    before = result_of(checkout, [measured(CLOSED)])
    after = json.loads(json.dumps(before))
    after["runs"][0]["summary"]["rate_per_s"] = {"value": 14.0, "low": 9.0, "high": 19.0}
    assert compare(before, after).worse == ()


def test_what_makes_a_comparison_doubtful_is_told(whole: dict[str, Any]) -> None:
    other = json.loads(json.dumps(whole))
    other["machine"]["processor"] = "another"
    warnings = compare(whole, other).warnings
    assert any("the processor differs" in warning for warning in warnings)
    assert any("was INVALID then" in warning for warning in warnings)


def test_a_comparison_of_nothing_does_not_pass(checkout: Path, whole: dict[str, Any]) -> None:
    empty = document(SUBJECT, started="2026-01-01T00:00:00+00:00", checkout=checkout)
    with pytest.raises(ValueError, match="no figure in common"):
        compare(empty, whole)


def test_the_commands_write_the_page_and_end_by_what_they_find(
    tmp_path: Path, checkout: Path, measured: Callable[..., Measured]
) -> None:
    paths = []
    for service_s in (0.12, 0.15):
        run = measured(CLOSED, service_s)
        folder = tmp_path / str(service_s)
        paths.append(str(write_result(folder, result_of(checkout, [run]), [run])))
    runner = CliRunner()
    done = runner.invoke(main, ["report", paths[0]])
    assert done.exit_code == 0, done.output
    assert "8 clients" in (tmp_path / "0.12" / "report.html").read_text(encoding="utf-8")
    worse = runner.invoke(main, ["compare", *paths])
    assert worse.exit_code == 1
    assert "WORSE 8 clients, screenings/s" in worse.output
    same = runner.invoke(main, ["compare", paths[0], paths[0]])
    assert same.exit_code == 0
    assert "WORSE" not in same.output
