"""A server's processor time a screening, by hand."""

from __future__ import annotations

import numpy as np

from thyroid_benchmarks.generator import Record
from thyroid_benchmarks.summary import cpu_ms_per_screening
from thyroid_benchmarks.target import OK, WRONG_ANSWER

IS_SOUND = np.array([True, False])


def record(image: list[int], outcome: tuple[str, ...]) -> Record:
    times = np.arange(len(image), dtype=np.int64)
    return Record(times, times, times, np.array(image, np.int64), times, outcome, 0, 0)


def test_processor_time_is_divided_among_what_was_screened() -> None:
    # Two sound images answered, one answered wrongly, one refused as it should be.
    run = record([0, 0, 0, 1], (OK, OK, WRONG_ANSWER, OK))
    assert cpu_ms_per_screening(run, IS_SOUND, 3.0) == 1500.0


def test_where_nothing_was_screened_there_is_no_such_time() -> None:
    assert cpu_ms_per_screening(record([], ()), IS_SOUND, 3.0) is None
    assert cpu_ms_per_screening(record([1], (OK,)), IS_SOUND, 3.0) is None
