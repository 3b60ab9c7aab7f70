"""Runs perf_analyzer on a server: the same images, the same closed loops, the same arrivals."""

from __future__ import annotations

import base64
import csv
import json
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thyroid_benchmarks.peer_environment import Run, run_command
from thyroid_benchmarks.perf_analyzer_fetch import PerfAnalyzer
from thyroid_benchmarks.scenarios import ClosedLoop, OpenLoop, Scenario
from thyroid_benchmarks.schedule import poisson_schedule_ns
from thyroid_pipeline import contract

_NS_PER_US = 1000
_US_PER_MS = 1000
# It measures windows until three in a row are alike, and merges these three.
_WINDOWS = 3
_ANY_DEVIATION_PERCENT = 100_000
_RATE_COLUMN = "Inferences/Second"
"""Of its table; latencies stand in `p50 latency` and so on, in microseconds."""


@dataclass(frozen=True)
class PerfFigures:
    """What perf_analyzer says of a run.

    Attributes:
        rate_per_s: Answers per second.
        p50_ms: Median latency from sending to the answer, in an open loop too.
        p95_ms: 95th percentile.
    """

    rate_per_s: float
    p50_ms: float
    p95_ms: float


def input_data(images: Sequence[bytes]) -> str:
    """Write encoded images as perf_analyzer's input data: one request each, in order.

    A BYTES tensor is its elements with 4 bytes of length before each, which base64 carries.
    """
    rows: list[dict[str, Any]] = [
        {
            contract.IMAGE.name: {
                "b64": base64.b64encode(struct.pack("<I", len(image)) + image).decode("ascii"),
                "shape": list(contract.IMAGE.shape),
            }
        }
        for image in images
    ]
    return json.dumps({"data": rows})


def arguments(scenario: Scenario, address: str, folder: Path) -> list[str]:
    """Return perf_analyzer's arguments for a closed loop of clients or for arrivals.

    An open loop is given our own Poisson schedule as a file of intervals, so that both generators
    offer the very same arrivals.

    Args:
        scenario: Its load is a `ClosedLoop` or an `OpenLoop`.
        address: Of the gRPC port.
        folder: Where `write_files` has put its files.

    Raises:
        TypeError: The load is another one.
        ValueError: The scenario has a warm-up.
    """
    if scenario.warmup_s:
        raise ValueError(
            f"the scenario has a warm-up of {scenario.warmup_s:g} s; none was wanted, since "
            "perf_analyzer counts from its first request: warm the server up before it"
        )
    load = scenario.load
    if isinstance(load, ClosedLoop):
        kind = ["--concurrency-range", str(load.clients)]
    elif isinstance(load, OpenLoop):
        kind = ["--request-intervals", str(folder / "intervals.txt")]
    else:
        raise TypeError(
            f"the load is {type(load).__name__}; a closed loop of clients or an open loop was "
            "wanted: perf_analyzer knows no other"
        )
    window_ms = round(1000 * load.duration_s / _WINDOWS)
    return [
        *("-m", contract.ENSEMBLE.name, "-i", "grpc", "-u", address, "--async"),
        *("--input-data", str(folder / "images.json")),
        *("--measurement-interval", str(window_ms)),
        *("--stability-percentage", str(_ANY_DEVIATION_PERCENT), "--max-trials", str(_WINDOWS)),
        *("-f", str(folder / "figures.csv")),
        *kind,
    ]


def write_files(scenario: Scenario, images: Sequence[bytes], folder: Path) -> None:
    """Write the images, and where the scenario is open its intervals in microseconds."""
    (folder / "images.json").write_text(input_data(images), encoding="ascii")
    if isinstance(scenario.load, OpenLoop):
        due_us = poisson_schedule_ns(scenario.load.stages, scenario.load.seed) // _NS_PER_US
        intervals = np.diff(due_us, prepend=0).tolist()
        text = "\n".join(str(max(1, interval)) for interval in intervals)
        (folder / "intervals.txt").write_text(text + "\n", encoding="ascii")


def read_figures(text: str) -> PerfFigures:
    """Read the table that it writes.

    Raises:
        ValueError: It holds no run, or not what was wanted of it.
    """
    rows = list(csv.DictReader(text.splitlines()))
    try:
        (row,) = rows
        return PerfFigures(
            rate_per_s=float(row[_RATE_COLUMN]),
            p50_ms=float(row["p50 latency"]) / _US_PER_MS,
            p95_ms=float(row["p95 latency"]) / _US_PER_MS,
        )
    except (KeyError, ValueError) as error:
        columns = list(rows[0]) if rows else []
        raise ValueError(
            f"perf_analyzer wrote {len(rows)} runs with the columns {columns}; one run with "
            f"{_RATE_COLUMN!r}, 'p50 latency' and 'p95 latency' was wanted: see that it is the "
            "pinned version"
        ) from error


def run_perf_analyzer(
    program: PerfAnalyzer,
    scenario: Scenario,
    address: str,
    images: Sequence[bytes],
    run: Run = run_command,
) -> PerfFigures:
    """Run it once.

    Raises:
        PeerUnavailableError: It failed; the message says what it said.
        ValueError: It wrote something else than a table of one run.
    """
    libraries = ":".join(str(folder) for folder in program.libraries)
    with tempfile.TemporaryDirectory(prefix="thyroid-perf-") as name:
        folder = Path(name)
        write_files(scenario, images, folder)
        command = [str(program.program), *arguments(scenario, address, folder)]
        # Its libraries are for it alone.
        run(["env", f"LD_LIBRARY_PATH={libraries}", *command])
        return read_figures((folder / "figures.csv").read_text(encoding="utf-8"))
