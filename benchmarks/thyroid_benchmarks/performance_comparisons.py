"""The tables of docs/performance.md that set things side by side: layouts, peers, perf_analyzer.

Pure functions from a result document to Markdown. Layouts and peers are measured in the same way,
so that the same tables say what came of it; `part` names which of the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from thyroid_benchmarks.markdown import NONE, NOT_JUDGED, Document, cell, share_cell, table
from thyroid_benchmarks.peer_list import OURS
from thyroid_benchmarks.report import figure

_RATE, _P95, _CPU = "rate_per_s", "p95_ms", "server_cpu_ms"
_AGREES = {True: "yes", False: "**no**", None: NOT_JUDGED}
_UNITS = {_RATE: "screenings/s", "p50_ms": "p50, ms", _P95: "p95, ms"}


def rates_table(document: Document, part: str) -> str:
    """Rates and tails of each, medians of the VALID rounds with their range."""
    found = document[part]
    rows = [
        [
            one["title"],
            *(cell(point[_RATE], 2) for point in one["points"]),
            *(cell(point[_P95]) for point in one["points"]),
            share_cell(
                [run["verdict"]["word"] for point in one["points"] for run in point["runs"]]
            ),
        ]
        for one in found["contestants"]
    ]
    head = _heads(found, "screenings/s") + _heads(found, "p95, ms")
    return f"{_about(found)}\n\n{table(['server', *head, 'VALID runs'], rows)}"


def ratios_table(document: Document, part: str) -> str:
    """Each over ours in the same round, medians with their range; above 1 it has more than we.

    A round in which one of the two is INVALID is left out.
    """
    found = document[part]
    rows = [
        [
            one["title"],
            *(ratio_cell(point["ratios"][_RATE], found) for point in one["points"]),
            *(ratio_cell(point["ratios"][_P95], found) for point in one["points"]),
        ]
        for one in found["contestants"]
        if one["name"] != OURS
    ]
    head = _heads(found, "rate over ours") + _heads(found, "p95 over ours")
    return table(["server", *head], rows)


def cpu_table(document: Document, part: str) -> str:
    """Processor time of each server for a screening, and over ours in the same round."""
    found = document[part]
    rows = [
        [
            one["title"],
            *(cell(point[_CPU]) for point in one["points"]),
            *(ratio_cell(point["ratios"][_CPU], found) for point in one["points"]),
        ]
        for one in found["contestants"]
    ]
    head = _heads(found, "processor time, ms") + _heads(found, "over ours")
    return table(["server", *head], rows)


def best_table(document: Document, part: str) -> str:
    """Ours over the best of the others, from their run-off, and who that is.

    Args:
        document: A result with the part.
        part: `layouts` or `peers`.
    """
    rows = [
        [
            str(one["clients"]),
            one["titles"]["rate"] or NONE,
            ratio_cell(one["rate"], one),
            one["titles"]["p95"] or NONE,
            ratio_cell(one["p95"], one),
            share_cell(one["verdicts"]),
        ]
        for one in document[part]["best"]
    ]
    head = ["clients", "best rate", "ours over it", "shortest p95", "ours over it", "VALID runs"]
    return table(head, rows)


def ratio_cell(ratio: Mapping[str, Any] | None, found: Mapping[str, Any], decimals: int = 3) -> str:
    """Write a ratio of a comparison, and how many rounds are left where some were INVALID."""
    return f"{cell(ratio, decimals)}{rounds_left(ratio, found)}"


def rounds_left(ratio: Mapping[str, Any] | None, found: Mapping[str, Any]) -> str:
    """Say how many rounds are behind a ratio; nothing where it is all of them, or none."""
    if ratio is None or ratio["rounds"] == found["rounds"]:
        return ""
    return f", {ratio['rounds']} of {found['rounds']} rounds"


def settings_table(document: Document, part: str) -> str:
    """What each is, or is tuned to, with its versions; once where it has several layouts."""
    # Layouts of one server differ in no word of it.
    contestants = {one["name"]: one for one in document[part]["contestants"]}
    rows = []
    for name, one in contestants.items():
        versions = ", ".join(f"{package} {version}" for package, version in one["versions"].items())
        rows.append([name, one["tuned"], versions or NONE])
    return table(["server", "what it is, what it is tuned to", "versions"], rows)


def verdicts_at(found: Mapping[str, Any], clients: int, names: Sequence[str]) -> list[str]:
    """Return the verdicts of all runs of some servers with so many clients."""
    return [
        run["verdict"]["word"]
        for one in found["contestants"]
        if one["name"] in names
        for point in one["points"]
        if point["clients"] == clients
        for run in point["runs"]
    ]


def cross_check_table(document: Document) -> str:
    """perf_analyzer beside our generator, and why where they differ."""
    found = document["cross_check"]
    if found["fault"]:
        return f"The cross-check was not done: {found['fault']}"
    rows, reasons = [], []
    for point in found["points"]:
        name = point["scenario"]["name"]
        rows += [
            [
                name,
                _UNITS[which],
                _middle(values["ours"]),
                _middle(values["perf_analyzer"]),
                cell(values["ratio"], 3),
                _AGREES[values["agrees"]],
                share_cell(point["verdicts"]),
            ]
            for which, values in point["figures"].items()
        ]
        reasons += [f"- {name}: {reason}" for reason in point["reasons"]]
    head = ["point", "figure", "ours", "perf_analyzer", "perf_analyzer over ours"]
    text = table([*head, f"within {found['allowed']:.0%}", "VALID runs"], rows)
    if not reasons:
        return text
    return "\n".join([text, "", "Where the two differ by more:", "", *reasons])


def _about(found: Mapping[str, Any]) -> str:
    """Say how much was measured, who is out, and what was INVALID."""
    rounds = found["rounds"]
    told = [
        f"{rounds} round{'' if rounds == 1 else 's'} of {figure(found['duration_s'], 0)} s a point."
    ]
    told += [
        f"**{one['title']} was not measured to the end**: {one['fault']}."
        for one in found["contestants"]
        if one["fault"]
    ]
    if found["invalid"]:
        # A reason begins with its rule: "drift: 12.0% between the halves, wanted 10% or less".
        rules = Counter(
            reason.partition(":")[0] for one in found["invalid"] for reason in one["reasons"]
        )
        counts = ", ".join(f"{rule} {count}" for rule, count in rules.most_common())
        told.append(
            f"**INVALID: {len(found['invalid'])} runs** ({counts}). Their figures are left out."
        )
    return " ".join(told)


def _heads(found: Mapping[str, Any], what: str) -> list[str]:
    return [
        f"{what}, {clients} client{'' if clients == 1 else 's'}" for clients in found["clients"]
    ]


def _middle(values: Sequence[float]) -> str:
    return figure(median(values) if values else None, 2)
