"""Contestants in turns: their order, their ratios, and who does not count. Their runs are fakes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake_contestants import SUBJECT, Fakes, measured
from thyroid_benchmarks.compare import compare
from thyroid_benchmarks.console import peer_lines
from thyroid_benchmarks.peer_comparison import compare_peers, turn
from thyroid_benchmarks.peer_contestants import make_contestants
from thyroid_benchmarks.peer_environment import PeerUnavailableError
from thyroid_benchmarks.peer_figures import Comparison, Contestant, PeerPlan
from thyroid_benchmarks.peer_list import LAYOUTS, NAMES, OURS, PEERS
from thyroid_benchmarks.report import render_report
from thyroid_benchmarks.results import document
from thyroid_benchmarks.run_off import RunOff, run_off, run_off_lines
from thyroid_benchmarks.target import NOT_REFUSED, OK, WRONG_ANSWER
from thyroid_pipeline import contract

PLAN = PeerPlan(clients=(1, 8), rounds=3)


@pytest.fixture
def fakes() -> Fakes:
    return Fakes()


async def compared(fakes: Fakes, *contestants: Contestant, **options: Any) -> Comparison:
    return await compare_peers(contestants, SUBJECT, PLAN, lambda _: None, run=fakes.run, **options)


async def test_all_are_measured_in_every_round_in_another_order(fakes: Fakes) -> None:
    result = await compared(fakes, fakes.make(OURS, 50), fakes.make("a", 60), fakes.make("b", 70))
    assert len(result.runs) == 3 * 3 * 2
    rounds = [fakes.opened[start : start + 3] for start in (0, 3, 6)]
    assert all(sorted(one) == ["a", "b", OURS] for one in rounds)
    assert len({tuple(one) for one in rounds}) == 3
    clients = [clients for name, clients in fakes.order if name == OURS]
    assert clients == [1, 8, 8, 1, 8, 1]
    assert not result.faults


def test_whoever_profits_from_a_place_has_each_place() -> None:
    for count in range(1, 7):
        items = list(range(count))
        places = [turn(items, number).index(0) for number in range(2 * count)]
        assert set(places) == set(items)
        # In each pair of rounds all have the same place on average.
        assert places[0] + places[1] == count - 1
        assert all(sorted(turn(items, number)) == items for number in range(20))


async def test_ratios_are_those_of_the_same_round(fakes: Fakes) -> None:
    result = await compared(fakes, fakes.make(OURS, 50), fakes.make("a", 60))
    rate = result.ratio("a", OURS, 8, "rate_per_s")
    latency = result.ratio("a", OURS, 8, "p95_ms")
    assert rate is not None
    assert latency is not None
    assert rate.rounds == latency.rounds == 3
    assert rate.estimate.value == pytest.approx(50 / 60, rel=0.03)
    assert latency.estimate.value == pytest.approx(60 / 50, rel=0.03)
    assert rate.estimate.low is not None
    assert rate.estimate.high is not None
    assert rate.estimate.low <= rate.estimate.value <= rate.estimate.high
    ours = result.ratio(OURS, OURS, 1, "rate_per_s")
    assert ours is not None
    assert (ours.estimate.low, ours.estimate.value, ours.estimate.high) == (1, 1, 1)


async def test_an_invalid_run_takes_its_round_out_of_the_ratios(fakes: Fakes) -> None:
    fakes.disturbed = {("a", 1)}
    result = await compared(fakes, fakes.make(OURS, 50), fakes.make("a", 60))
    ratio = result.ratio("a", OURS, 8, "rate_per_s")
    assert ratio is not None
    assert ratio.rounds == 2
    assert sorted(result.figures("a", 8, "p95_ms")) == [0, 2]
    part = result.as_dict()
    assert [point["counted"] for point in part["contestants"][1]["points"]] == [2, 2]
    assert "of ours, 2 of 3 rounds" in "\n".join(peer_lines(part))


async def test_without_a_valid_run_there_is_no_figure(fakes: Fakes) -> None:
    fakes.disturbed = {(OURS, number) for number in range(3)}
    result = await compared(fakes, fakes.make(OURS, 50), fakes.make("a", 60))
    assert result.ratio("a", OURS, 8, "rate_per_s") is None
    part = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert part["contestants"][0]["points"][0]["rate_per_s"] is None
    assert part["contestants"][1]["points"][0]["rate_per_s"] is not None


async def raced(fakes: Fakes, result: Comparison, *rivals: str) -> list[RunOff]:
    return await run_off(result, rivals, SUBJECT, lambda _: None, run=fakes.run)


async def test_ours_is_measured_anew_against_the_best_alone(fakes: Fakes) -> None:
    result = await compared(
        fakes, *(fakes.make(name, ms) for name, ms in ((OURS, 50), ("a", 60), ("b", 40)))
    )
    fakes.order.clear()
    # It was the best by luck: measured again, it is slower.
    fakes.ms["b"] = 45
    one, eight = await raced(fakes, result, "a", "b")
    assert fakes.order[:4] == [(OURS, 1), ("b", 1), ("b", 1), (OURS, 1)]
    assert len(fakes.order) == 2 * 2 * PLAN.run_off_rounds
    for found in (one, eight):
        assert found.best == {"rate_per_s": "b", "p95_ms": "b"}
        rate, p95 = found.over_best("rate_per_s"), found.over_best("p95_ms")
        assert rate is not None
        assert p95 is not None
        assert rate.rounds == PLAN.run_off_rounds
        assert rate.estimate.value == pytest.approx(45 / 50, rel=0.03)
        assert p95.estimate.value == pytest.approx(50 / 45, rel=0.03)
    told = json.loads(json.dumps(one.as_dict(), allow_nan=False))
    assert told["titles"] == {"rate": "b", "p95": "b"}
    assert told["figures"]["b"]["p95_ms"]["value"] < told["figures"][OURS]["p95_ms"]["value"]
    assert told["verdicts"] == ["VALID"] * 2 * PLAN.run_off_rounds


async def test_one_lucky_round_makes_nobody_the_best(fakes: Fakes) -> None:
    made = [fakes.make(name, ms) for name, ms in ((OURS, 50), ("a", 45), ("b", 60))]
    result = await compared(fakes, *made)
    lucky = next(run for run in result.runs if run.title == "b" and run.clients == 8)
    quick = measured(lucky.measured.scenario, 20)
    runs = [replace(run, measured=quick) if run is lucky else run for run in result.runs]
    _, eight = await raced(fakes, replace(result, runs=tuple(runs)), "a", "b")
    assert eight.best == {"rate_per_s": "a", "p95_ms": "a"}


async def test_who_is_out_or_no_rival_is_not_the_best(fakes: Fakes) -> None:
    made = [fakes.make(name, ms) for name, ms in ((OURS, 50), ("a", 60), ("other", 10))]
    result = await compared(fakes, *made)
    fakes.order.clear()
    for found in await raced(fakes, replace(result, faults={"a": "it broke down"}), "a"):
        assert found.best == {}
        assert found.over_best("rate_per_s") is None
        assert found.as_dict()["rate"] is None
    assert not fakes.order
    lines = run_off_lines(await raced(fakes, result, "a"), "peer")
    assert len(lines) == 4
    assert all("best peer, a, " in line for line in lines)


async def test_where_the_fastest_has_no_valid_round_nobody_is_the_best(fakes: Fakes) -> None:
    # Nobody knows how fast "b" is: ours is not set beside the second best in its place.
    fakes.disturbed = {("b", number) for number in range(3)}
    made = [fakes.make(name, ms) for name, ms in ((OURS, 50), ("a", 60), ("b", 40))]
    result = await compared(fakes, *made)
    assert [one.best for one in await raced(fakes, result, "a", "b")] == [{}, {}]
    # A slow one is no matter, and one that answers wrongly is none of them.
    fakes.disturbed = set()
    fakes.wrong_under_load = {"b"}
    wrong = await compared(fakes, *made)
    assert [one.best["rate_per_s"] for one in await raced(fakes, wrong, "a", "b")] == ["a", "a"]


async def test_an_invalid_round_of_a_run_off_is_left_out(fakes: Fakes) -> None:
    result = await compared(fakes, fakes.make(OURS, 50), fakes.make("a", 60))
    opened = fakes.opened.count("a")
    fakes.disturbed = {("a", opened), *((OURS, opened + 4 + number) for number in range(4))}
    one, eight = await raced(fakes, result, "a")
    rate = one.over_best("rate_per_s")
    assert rate is not None
    assert rate.rounds == PLAN.run_off_rounds - 1
    assert any(reason.startswith("others") for reason in one.as_dict()["reasons"])
    assert eight.over_best("rate_per_s") is None
    assert "8 clients, rate_per_s: no VALID round" in "\n".join(run_off_lines([eight], "peer"))


async def test_a_fast_wrong_server_is_out_before_it_is_measured(fakes: Fakes) -> None:
    wrong = fakes.make("wrong", 5, lambda index: OK if index else WRONG_ANSWER)
    lax = fakes.make("lax", 5, lambda index: NOT_REFUSED if index else OK)
    mask = fakes.make("mask", 5, faults=("image 0: the masks have a Dice of 0.9",))
    result = await compared(fakes, fakes.make(OURS, 50), wrong, lax, mask)
    assert {name for name, _ in fakes.order} == {OURS}
    assert "image 0 (nodule) came back as WrongAnswer" in result.faults["wrong"]
    assert "image 1 (corrupt) came back as NotRefused" in result.faults["lax"]
    assert "Dice of 0.9" in result.faults["mask"]
    assert fakes.opened.count("wrong") == 1


async def test_a_server_that_is_wrong_under_load_does_not_count(fakes: Fakes) -> None:
    fakes.wrong_under_load.add("wrong")
    result = await compared(fakes, fakes.make(OURS, 50), fakes.make("wrong", 5))
    assert result.ratio("wrong", OURS, 8, "rate_per_s") is None
    point = result.as_dict()["contestants"][1]["points"][0]
    assert point["counted"] == 0
    assert point["rate_per_s"] is None
    assert len(point["runs"]) == 3
    invalid = result.as_dict()["invalid"]
    assert len(invalid) == 6
    assert "WrongAnswer" in invalid[0]["reasons"][0]
    assert "6 runs are INVALID" in peer_lines(result.as_dict())[-1]


async def test_a_server_that_loads_after_it_listens_is_waited_for(fakes: Fakes) -> None:
    answers = iter(["ServerUnavailable", "ConnectionFailed"])
    late = fakes.make("late", 60, lambda _: next(answers, OK))
    result = await compared(fakes, fakes.make(OURS, 50), late)
    assert not result.faults


async def test_who_cannot_be_had_stands_in_the_report(fakes: Fakes, checkout: Path) -> None:
    gone = {"gone": "its environment cannot be made: no such package"}
    result = await compared(
        fakes,
        fakes.make(OURS, 50),
        fakes.make("a", 60),
        fakes.make("broken", 60, starts=False),
        fakes.make("gone", 60),
        unavailable=gone,
    )
    assert "gone" not in fakes.opened
    part = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    best = await run_off(result, ["a", "broken", "gone"], SUBJECT, lambda _: None, run=fakes.run)
    lines = "\n".join([*peer_lines(part), *run_off_lines(best, "peer")])
    part["best"] = [one.as_dict() for one in best]
    assert "gone: NOT MEASURED to the end: its environment cannot be made" in lines
    assert "ours over the best peer, a, 8 clients, rate_per_s: 1.2" in lines
    whole = document(
        SUBJECT, started="2026-01-01T00:00:00", checkout=checkout, parts={"peers": part}
    )
    page = render_report(whole)
    assert page.count("<svg") == 2
    assert "was not measured: it said: no port" in page
    assert "no such package" in page
    assert "as it comes. package 1.0" in page
    slower = json.loads(json.dumps(whole))
    for one in slower["peers"]["best"]:
        one["rate"] = {name: value * 0.8 for name, value in one["rate"].items()}
    assert [change.figure for change in compare(whole, slower).worse] == [
        "ours over the best peer, 1 clients, rate",
        "ours over the best peer, 8 clients, rate",
    ]


def test_a_peer_without_an_environment_is_not_left_out(
    tmp_path: Path, model_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PeerUnavailableError("python -m pip ended with exit code 1: no such package")

    monkeypatch.setattr("thyroid_benchmarks.peer_contestants.make_environment", refuse)
    said: list[str] = []
    contestants, faults = make_contestants(
        NAMES,
        LAYOUTS,
        cache=tmp_path,
        model_repository=model_repository,
        parameters=contract.CropperParameters(),
        say=said.append,
    )
    titles = [one.title for one in contestants]
    assert titles[:2] == [OURS, "tutorial-ensemble"]
    assert len(titles) == len(set(titles)) == 2 + sum(len(peer.layouts) for peer in PEERS)
    assert set(faults) == set(titles[2:])
    assert "no such package" in faults["fastapi (latency)"]
    assert any("ray-serve is out" in line for line in said)
