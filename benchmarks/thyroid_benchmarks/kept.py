"""What of a result is kept in the repository: a file for each part, small enough to be read.

Figures stay as they were written. Of each of the many runs of a comparison stay its rate, its
percentiles that are compared, and its verdict with the reasons; what no table shows goes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thyroid_benchmarks.markdown import is_scenario
from thyroid_benchmarks.peer_list import OURS, TUTORIAL

PARTS = ("layouts", "peers", "cross_check")
SUITE, SOAK = "suite", "soak"
_PERCENTILES = ("50", "95")


def split(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Divide a result into documents of the same schema, each with one part.

    Args:
        result: As `results.read_result` returns it.

    Returns:
        By the part's name, `SUITE` for runs, floor and knee, `SOAK` for a soak among the runs: it
        takes long and is measured apart, so that a shorter suite must not take its place. A part
        that was not measured is missing, and so is a comparison with the tutorial's ensemble alone,
        which a suite without peers has: what is kept of the peers stays.

    Raises:
        ValueError: The result has no part.
    """
    head = {name: value for name, value in result.items() if name not in PARTS}
    found = {}
    soaks = [run for run in result["runs"] if is_scenario(run, SOAK)]
    runs = [run for run in result["runs"] if run not in soaks]
    if runs:
        found[SUITE] = {**head, "runs": runs}
    if soaks:
        found[SOAK] = {**head, "floor": None, "runs": soaks, "knee": None}
    for part in PARTS:
        if part in result and not _is_of_the_tutorial_alone(result[part]):
            empty: dict[str, Any] = {"floor": None, "runs": [], "knee": None}
            found[part] = {**head, **empty, part: _slim(result[part])}
    if not found:
        raise ValueError(
            "the result holds neither scenarios nor a comparison; what `suite`, `layouts`, `peers` "
            "or `cross-check` wrote was wanted: keep that"
        )
    return found


def keep(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write every part of a result into its file, in the place of an older one.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, document in split(result).items():
        paths.append(folder / f"{name}.json")
        text = json.dumps(document, indent=1, allow_nan=False)
        paths[-1].write_text(f"{text}\n", encoding="utf-8")
    return paths


def _is_of_the_tutorial_alone(part: Mapping[str, Any]) -> bool:
    return {one["name"] for one in part.get("contestants", ())} == {OURS, TUTORIAL}


def _slim(part: Mapping[str, Any]) -> dict[str, Any]:
    if "contestants" not in part:
        return dict(part)
    contestants = [
        {
            **one,
            "points": [
                {**point, "runs": [_slim_run(run) for run in point["runs"]]}
                for point in one["points"]
            ],
        }
        for one in part["contestants"]
    ]
    return {**part, "contestants": contestants}


def _slim_run(run: Mapping[str, Any]) -> dict[str, Any]:
    summary, verdict = run["summary"], run["verdict"]
    return {
        "round": run["round"],
        "summary": {
            "requests": summary["requests"],
            "failures": summary["failures"],
            "rate_per_s": summary["rate_per_s"],
            "latency_ms": {name: summary["latency_ms"][name] for name in _PERCENTILES},
        },
        "verdict": {"word": verdict["word"], "reasons": verdict["reasons"]},
    }
