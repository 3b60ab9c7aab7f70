"""What a picture shows, where it can be told without looking at it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from small_results import run
from thyroid_benchmarks.plots import bar_spans, curve_plot


def row(name: str, mean_ms: float, *, counts: bool = True) -> dict[str, object]:
    return {"name": name, "mean_ms": mean_ms, "counts": counts}


def test_parts_lie_one_after_another_and_end_at_their_sum() -> None:
    rows = [row("a", 10.0), row("beside", 7.0, counts=False), row("b", 5.0)]
    assert bar_spans(rows) == [("a", 0.0, 10.0), ("b", 10.0, 5.0)]


def test_a_part_below_0_lengthens_no_bar() -> None:
    rows = [row("a", 10.0), row("between", -2.0), row("b", 5.0)]
    spans = bar_spans(rows)
    assert spans == [("a", -2.0, 10.0), ("b", 8.0, 5.0), ("between", 0.0, -2.0)]
    assert spans[1][1] + spans[1][2] == 13.0


@given(st.lists(st.floats(-10, 100), min_size=1, max_size=7))
def test_a_bar_ends_at_the_sum_whatever_the_signs(times_ms: list[float]) -> None:
    times_ms[0] = 200.0  # a sum above 0, as a latency is
    spans = bar_spans([row(str(number), ms) for number, ms in enumerate(times_ms)])
    assert max(left + width for _, left, width in spans) == pytest.approx(sum(times_ms))
    assert len(spans) == len(times_ms)


def test_the_curve_shows_a_rate_once_by_its_longer_run() -> None:
    def probe(rate: float, p50_ms: float, *, confirms: bool) -> dict[str, object]:
        one = run(f"server at {rate:g}/s", rate, p50_ms=p50_ms)
        return {"rate_per_s": rate, "passed": True, "confirms": confirms, "run": one}

    short, other, longer = (
        probe(10.0, 100.0, confirms=False),
        probe(12.0, 300.0, confirms=False),
        probe(10.0, 200.0, confirms=True),
    )
    knee = {"passed_per_s": 10.0, "failed_per_s": 12.0, "stopped": ""}
    drawn = curve_plot({"knee": {**knee, "probes": [short, other, longer]}})
    assert drawn is not None
    assert drawn == curve_plot({"knee": {**knee, "probes": [longer, other]}})
    assert drawn != curve_plot({"knee": {**knee, "probes": [short, other]}})
    assert "knee" in drawn
    assert curve_plot({"knee": None}) is None
