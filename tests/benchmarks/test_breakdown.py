"""Where the time goes: parts that add up, and steps that run side by side."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from thyroid_benchmarks.breakdown import (
    BETWEEN,
    CORE_WAIT,
    INFERENCE,
    ROW_PARTS,
    TRANSPORT,
    break_down,
)
from thyroid_benchmarks.server_times import (
    PARTS,
    ModelCounters,
    counted_between,
    counters_of,
    stages,
)
from thyroid_pipeline import contract

MS = 1_000_000


def counters(count: int, whole_ms: float, inference_ms: float = 0.0) -> ModelCounters:
    return ModelCounters(
        succeeded=count,
        succeeded_ns=round(count * whole_ms * MS),
        part_ns=dict.fromkeys(PARTS, 0) | {"inference": round(count * inference_ms * MS)},
        batches={1: count},
    )


def test_the_stages_are_those_of_the_contract() -> None:
    assert [name for stage in stages() for name in stage] == [
        model.name for model in contract.STEPS
    ]
    assert stages()[:3] == [["frame_decoder"], ["transunet"], ["roi_cropper"]]
    # The classifier and the forest take what the cropper gives and nothing of each other.
    assert stages()[3:] == [["resnet18", "morphology_forest"]]


@given(
    times_ms=st.lists(st.floats(0.1, 100), min_size=5, max_size=5),
    between_ms=st.floats(0, 5),
    transport_ms=st.floats(0, 5),
)
def test_the_parts_that_count_add_up(
    times_ms: list[float], between_ms: float, transport_ms: float
) -> None:
    counted = {
        model.name: counters(50, time_ms)
        for model, time_ms in zip(contract.STEPS, times_ms, strict=True)
    }
    server_ms = sum(times_ms[:3]) + max(times_ms[3:]) + between_ms
    counted[contract.ENSEMBLE.name] = counters(50, server_ms)
    breakdown = break_down(counted, stages(), server_ms + transport_ms)
    assert breakdown is not None
    total = sum(row.mean_ms for row in breakdown.rows if row.counts)
    assert total == pytest.approx(breakdown.end_to_end_ms)
    rest = {row.name: row.mean_ms for row in breakdown.rows}
    assert rest[BETWEEN] == pytest.approx(between_ms, abs=1e-4)
    assert rest[TRANSPORT] == pytest.approx(transport_ms, abs=1e-4)
    (beside,) = [row for row in breakdown.rows if not row.counts]
    assert beside.name in stages()[3]
    assert beside.mean_ms <= max(rest[name] for name in stages()[3])


def test_a_server_without_the_forest_is_broken_down_all_the_same() -> None:
    counted = {name: counters(10, 20.0, 15.0) for name in ("frame_decoder", "transunet")}
    counted[contract.ENSEMBLE.name] = counters(10, 50.0)
    breakdown = break_down(counted, stages(), 55.0)
    assert breakdown is not None
    assert [row.name for row in breakdown.rows] == [
        "frame_decoder", "transunet", BETWEEN, TRANSPORT,
    ]  # fmt: skip
    assert breakdown.rows[0].part_ms["inference"] == pytest.approx(15)
    assert breakdown.rows[0].overhead_ms == pytest.approx(5)
    assert breakdown.as_dict()["rows"][-1]["mean_batch"] is None


def test_the_wait_for_a_core_is_taken_from_the_inference() -> None:
    counted = {"transunet": counters(10, 20.0, 15.0), contract.ENSEMBLE.name: counters(10, 50.0)}
    for wait_ms, told in ((4.0, 4.0), (16.0, 15.0)):  # never more than there was
        breakdown = break_down(counted, stages(), 55.0, {"transunet": wait_ms})
        assert breakdown is not None
        row = breakdown.rows[0]
        assert set(row.part_ms) == set(ROW_PARTS)
        assert row.part_ms[CORE_WAIT] == pytest.approx(told)
        assert row.part_ms[INFERENCE] == pytest.approx(15 - told)
        assert row.overhead_ms == pytest.approx(5)
    untold = break_down(counted, stages(), 55.0, {"resnet18": 4.0})
    assert untold is not None
    assert CORE_WAIT not in untold.rows[0].part_ms


def test_no_screening_is_no_table() -> None:
    assert break_down({}, stages(), 1.0) is None
    assert break_down({contract.ENSEMBLE.name: ModelCounters()}, stages(), 1.0) is None


def statistics(name: str, version: str, count: int, ns: int, batch_size: int) -> pb.ModelStatistics:
    entry = pb.ModelStatistics(name=name, version=version)
    times = entry.inference_stats
    times.success.count, times.success.ns = count, 10 * ns
    times.fail.count = 1
    for number, field in enumerate(("queue", "compute_input", "compute_infer", "compute_output")):
        getattr(times, field).ns = (number + 1) * ns
    batch = entry.batch_stats.add(batch_size=batch_size)
    batch.compute_infer.count = count // batch_size
    return entry


def test_counters_are_read_from_tritons_message_and_taken_apart_by_time() -> None:
    def answer(count: int) -> pb.ModelStatisticsResponse:
        models = [("a", "1", count), ("a", "2", count), ("b", "1", 2 * count)]
        return pb.ModelStatisticsResponse(
            model_stats=[
                statistics(name, version, number, number * MS, 2)
                for name, version, number in models
            ]
        )

    between = counted_between(counters_of(answer(10)), counters_of(answer(30)))
    assert between["a"].succeeded == 40  # both versions
    assert between["a"].failed == 0
    assert between["b"].succeeded == 40
    assert between["a"].mean_ms == pytest.approx(10)
    assert [between["a"].part_ms(part) for part in PARTS] == pytest.approx([1, 2, 3, 4])
    assert between["a"].mean_batch == 2
    assert math.isnan(ModelCounters().mean_ms)
