"""Why targets were missed: figures that follow from a small result by hand."""

from __future__ import annotations

from typing import Any

import pytest

from small_results import (
    DRIFTED,
    FLOOR,
    VALID,
    checked,
    comparison,
    contestant,
    document,
    estimate,
    missing_point,
    point,
    run,
)
from thyroid_benchmarks import performance_explanations as explanations
from thyroid_benchmarks.performance_targets import target_table
from thyroid_benchmarks.run_off import RunOff


def row(name: str, inference_ms: float, *, counts: bool = True) -> dict[str, Any]:
    parts = {"queue": 2.0, "input": 0.5, "core wait": 1.0, "inference": inference_ms, "output": 0.5}
    return {"name": name, "mean_ms": inference_ms + 4, "part_ms": parts, "counts": counts}


BREAKDOWN = {
    "rows": [
        row("frame_decoder", 8.0),
        row("transunet", 60.0),
        row("roi_cropper", 5.0),
        row("resnet18", 37.0),
        row("morphology_forest", 1.0, counts=False),
        {"name": "transport and client", "mean_ms": 4.0, "part_ms": {}, "counts": True},
    ],
    "end_to_end_ms": 130.0,
}
EFFICIENCY: dict[str, Any] = {
    "efficiency": {**estimate(0.80, 0.79, 0.81), "floor": "sequential"},
    "pipeline_efficiency": {**estimate(0.98, 0.97, 0.99), "floor": "sequential"},
}


def suite(verdict: dict[str, Any] = VALID) -> dict[str, Any]:
    alone = run(
        "single-stream", 8.0, p50_ms=125.0, verdict=verdict, breakdown=BREAKDOWN, **EFFICIENCY
    )
    return document(floor=FLOOR, runs=[alone])


def test_a_missed_efficiency_is_set_beside_what_decoding_and_cropping_leave() -> None:
    text = explanations.of_efficiency(suite(), 1)
    # 97 / (97 + 8 + 5); the whole pipeline's 8 of 10 a second.
    assert "frame_decoder 8.0 ms and roi_cropper 5.0 ms" in text
    assert "at most 0.882 of the floor" in text
    assert "has 0.800 of it, and ours 0.980 of that" in text
    # Of many clients: 125 / (125 + 13), and 14 of 16 a second; that run is not there.
    many = explanations.of_efficiency(suite(), 8)
    assert "at most 0.906 of the floor" in many
    assert many.endswith("has 0.875 of it")


def test_a_missed_latency_is_set_beside_what_is_allowed() -> None:
    text = explanations.of_latency(suite(), 5.0)
    assert "13.0 ms together of the 5.0 ms allowed" in text
    assert "of the mean 130.0 ms" in text.replace("Of", "of")
    # 8 + 60 + 5 + 37 at work; 4 waits of 1 and 4 queues of 2; the rest is 130 - 110 - 4 - 8.
    assert "110.0 are the steps at work, 4.0 the wait for a core, 8.0 queues, 8.0 copies" in text


def test_a_missed_rate_is_set_beside_both_floors() -> None:
    text = explanations.of_offline(suite())
    assert "do 16.00 cases/s" in text
    assert "leaves at most 14.49/s" in text  # 16 * 125 / 138
    assert text.endswith("one process does 14.00/s")


def test_an_invalid_run_explains_nothing() -> None:
    assert "frame_decoder" not in explanations.of_efficiency(suite(DRIFTED), 1)
    assert explanations.of_latency(suite(DRIFTED), 5.0) == explanations.NOTHING
    assert explanations.of_efficiency(document(), 1) == explanations.NOTHING
    assert explanations.of_offline(document()) == explanations.NOTHING
    assert explanations.of_soak(document()) == explanations.NOTHING


def peers() -> dict[str, Any]:
    absent = contestant("absent", [missing_point(1)])
    quick = contestant("quick", [point(1, 9.5, 1.2)])
    slow = contestant("slow", [point(1, 7.0, 0.9)])
    tutorial = contestant("tutorial-ensemble", [point(1, 99.0, 2.0)])
    ours = contestant("ours", [point(1, 8.0, 1.0)])
    return comparison({1: (0.84, 1.2)}, [ours, tutorial, slow, quick, absent])


def test_the_best_is_named_with_its_share_of_the_floor() -> None:
    (best,) = peers()["best"]
    text = explanations.of_best(best, suite(), "rate")
    assert "Ours has 8.00 screenings/s, 0.800 of the floor" in text
    # 8 / 0.84
    assert "quick, the best, 9.52 screenings/s, 0.952 of the floor" in text
    assert "110.0 are the steps at work" in text
    told = "takes 125.0 ms of processor time of our server, and 105.0 ms of quick"
    assert told in text
    tail = explanations.of_best(best, document(), "p95")
    assert tail.startswith("Ours has 500.0 ms, and quick, the best, 500.0 ms")


def test_without_a_best_nothing_is_said_of_one() -> None:
    nobody = RunOff(1, {}, None).as_dict()
    assert explanations.of_best(nobody, document(), "rate") == explanations.NOTHING


def test_the_tutorials_ensemble_is_set_beside_ours() -> None:
    text = explanations.of_tutorial(peers(), document(), 1)
    assert text == "Ours has 8.00 screenings/s, and the tutorial's ensemble 99.00 screenings/s"
    assert explanations.of_tutorial(peers(), document(), 8) == explanations.NOTHING


@pytest.mark.parametrize(
    ("failures", "slope", "told"),
    [
        ({"UNAVAILABLE": 2}, None, "Failed: UNAVAILABLE 2"),
        ({}, estimate(12.0, 11.0, 13.0), "Memory grew by 12.0 MB an hour"),
    ],
)
def test_a_soak_tells_what_failed(
    failures: dict[str, int], slope: dict[str, Any] | None, told: str
) -> None:
    memory: dict[str, Any] = {"growth": 0.1, "slope_mb_per_hour": slope, "resident_bytes": []}
    soak = run("soak at 10/s", 10.0, failures=failures, observed={"memory": memory})
    assert explanations.of_soak(document(runs=[soak])) == told


def test_a_cross_check_gives_its_own_reasons() -> None:
    found = checked(100.0, 130.0, agrees=False, reasons=["the machine varied"])
    assert explanations.of_agreement(found) == "1 clients: the machine varied"


def test_the_table_explains_what_was_missed_and_nothing_else() -> None:
    text = target_table(
        suite(),
        document(layouts=comparison({1: (1.0, 1.0)}, [])),
        document(peers=peers()),
        document(cross_check=checked(100.0, 101.0, agrees=True, reasons=[])),
        document(),
    )
    _, _, told = text.partition("Those that were missed:")
    missed = [line.partition(":")[0].removeprefix("- ") for line in told.split("\n") if line]
    assert missed == [
        "rate over the best peer's, 1 client",
        "serving efficiency, 1 client",
        "p50 of one image above the floor's",
    ]
    assert "at most 0.882 of the floor" in told
