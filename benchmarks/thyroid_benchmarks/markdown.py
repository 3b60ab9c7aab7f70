"""What the tables of the documents are made of: cells, rows, verdicts. In Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from thyroid_benchmarks.report import figure, interval

Document = Mapping[str, Any]
"""A result, as `results.read_result` returns it."""
NONE = figure(None)
NOT_MEASURED = "not measured"
NOT_JUDGED = "not judged: INVALID"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; a bar within a cell would begin another one and is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    escaped = ([cell.replace("|", "\\|") for cell in cells] for cells in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)


def cell(estimate: Mapping[str, float | None] | None, decimals: int = 1) -> str:
    """Write an estimate with its ends; without them where both are the number itself."""
    if estimate is not None and estimate["low"] == estimate["value"] == estimate["high"]:
        return figure(estimate["value"], decimals)
    return interval(estimate, decimals)


def verdict_cell(verdict: Mapping[str, Any]) -> str:
    """Write VALID, or INVALID with all that speaks against the run."""
    if verdict["word"] == "VALID":
        return "VALID"
    return f"**INVALID**: {'; '.join(verdict['reasons'])}"


def share_cell(verdicts: Sequence[str]) -> str:
    """Write how many of some runs are VALID; in bold where not all of them are, or none was."""
    valid = verdicts.count("VALID")
    if valid == len(verdicts) > 0:
        return f"{valid} of {valid}"
    return f"**{valid} of {len(verdicts)}**"


def find_run(document: Document, name: str) -> Mapping[str, Any] | None:
    """Return the first run of a scenario; None without one."""
    for run in document["runs"]:
        if is_scenario(run, name):
            found: Mapping[str, Any] = run
            return found
    return None


def is_scenario(run: Mapping[str, Any], name: str) -> bool:
    """Whether a run is one of a scenario, by the beginning of its name.

    A closed loop has its whole name, such as `8 clients`; of an open one the rate is left out.
    """
    called: str = run["scenario"]["name"]
    return called == name or called.startswith(f"{name} at ")
