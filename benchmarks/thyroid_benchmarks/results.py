"""The result file: one JSON document, and beside it every latency of every run.

The document holds `schema`, `machine`, `versions`, `commit`, `seeds`, `pool`, `server`, `floor`,
`runs` and `knee`; a part that was not measured is None or empty. What was measured beside them
stands in parts of its own, `peers` and `cross_check`. It names no host and no path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thyroid_benchmarks.estimates import Estimate, ratio
from thyroid_benchmarks.floor import Floor, Way, Ways
from thyroid_benchmarks.knee import Knee
from thyroid_benchmarks.machine import describe_commit, describe_machine, describe_versions
from thyroid_benchmarks.measure import Measured, Subject

SCHEMA = 3
RESULT_FILE = "result.json"
LATENCIES = "latencies"


def document(
    subject: Subject,
    *,
    started: str,
    checkout: Path,
    runs: Sequence[Measured] = (),
    floor: Floor | None = None,
    knee: Knee[Measured] | None = None,
    parts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Put a result together.

    Args:
        subject: What was measured.
        started: When, as ISO 8601.
        checkout: The source tree, for its commit.
        runs: The scenarios.
        floor: What one process can do without a server.
        knee: The search for the highest rate.
        parts: Other parts by name, such as `peers` and `cross_check`, each fit for JSON.
    """
    return {
        "schema": SCHEMA,
        "started": started,
        "machine": describe_machine(),
        "versions": describe_versions(),
        "commit": describe_commit(checkout),
        "seeds": {"pool": subject.pool.seed, "order": subject.seed},
        "pool": subject.pool.as_dict(),
        "server": {"weights": subject.weights},
        "floor": None if floor is None else floor.as_dict(),
        "runs": [run.as_dict() | efficiencies(run, floor) for run in runs],
        "knee": None if knee is None else _knee_dict(knee),
        **(parts or {}),
    }


def write_result(folder: Path, result: dict[str, Any], runs: Sequence[Measured]) -> Path:
    """Write the document and the raw latencies, in the place of those that are there.

    Returns:
        The document's path.
    """
    (folder / LATENCIES).mkdir(parents=True, exist_ok=True)
    for old in (folder / LATENCIES).glob("*.npz"):
        old.unlink()
    for number, run in enumerate(runs):
        record = run.record
        name = re.sub(r"[^a-z0-9]+", "-", run.scenario.name.lower()).strip("-")
        np.savez_compressed(
            folder / LATENCIES / f"{number:02d}-{name}.npz",
            scheduled_ns=record.scheduled_ns - record.start_ns,
            sent_ns=record.sent_ns - record.start_ns,
            done_ns=record.done_ns - record.start_ns,
            image=record.image,
            query=record.query,
            outcome=np.array(record.outcome, np.str_),
        )
    path = folder / RESULT_FILE
    # NaN is no JSON: where one slips in, it is a fault to be found here and not by a reader.
    text = json.dumps(result, indent=1, allow_nan=False) + "\n"
    # Whoever is interrupted while he writes leaves the earlier document whole.
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    return path


def read_result(path: Path) -> dict[str, Any]:
    """Read a document.

    Raises:
        ValueError: It is none, or of another schema.
    """
    result = json.loads(path.read_text(encoding="utf-8"))
    schema = result.get("schema") if isinstance(result, dict) else None
    if schema != SCHEMA:
        raise ValueError(
            f"{path.name} has the schema {schema}; {SCHEMA} was wanted: measure again with this "
            "version, or read it with the version that wrote it"
        )
    return dict(result)


def efficiencies(run: Measured, floor: Floor | None) -> dict[str, Any]:
    """Of a closed loop the rate over the floor of the same parallelism: networks, whole pipeline.

    Returns:
        `efficiency` and `pipeline_efficiency`, each None in an open loop and without the floor.
    """
    way: Way = "sequential" if run.scenario.name == "single-stream" else "parallel"
    floors: dict[str, Ways | None] = {
        "efficiency": floor,
        "pipeline_efficiency": None if floor is None else floor.pipeline,
    }
    found: dict[str, Any] = {}
    for name, lowest in floors.items():
        if lowest is None or run.scenario.is_open:
            found[name] = None
            continue
        # Of a rate served and a floor measured apart: the widest that both intervals allow.
        quotient: Estimate = ratio(run.summary.rate_per_s, lowest.per_s(way))
        found[name] = quotient.as_dict() | {"floor": way}
    return found


def _knee_dict(knee: Knee[Measured]) -> dict[str, Any]:
    return {
        "passed_per_s": knee.passed_per_s,
        "failed_per_s": knee.failed_per_s,
        "stopped": knee.stopped,
        "probes": [
            {
                "rate_per_s": probe.rate_per_s,
                "passed": probe.passed,
                "confirms": confirms,
                "run": probe.measurement.as_dict(),
            }
            for confirms, probes in ((False, knee.probes), (True, knee.confirmations))
            for probe in probes
        ],
    }
