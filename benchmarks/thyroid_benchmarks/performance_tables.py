"""The tables of docs/performance.md that come of one suite: floor, scenarios, breakdown, knee.

Pure functions from a result document to Markdown. An INVALID run stands in its table as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from thyroid_benchmarks.breakdown import BETWEEN, ROW_PARTS
from thyroid_benchmarks.markdown import (
    NONE,
    NOT_MEASURED,
    Document,
    cell,
    find_run,
    table,
    verdict_cell,
)
from thyroid_benchmarks.report import figure

_PERCENTILES = ("50", "90", "95", "99")
_BYTES_PER_GIB = 2**30
_COMMIT_DIGITS = 12
# With these a closed loop is set beside the floor, and its time is divided.
ALONE, CROWD = "single-stream", "8 clients"
NETWORKS, PIPELINE = "networks alone", "whole pipeline"
_PARTS = ("suite", "layouts", "peers", "cross-check", "soak")


def origin_table(*documents: Document) -> str:
    """Say when, on what and with what each document was measured; once where all say the same.

    Args:
        documents: The suite, and in the order of `_PARTS` those that were measured beside it.
    """
    names = _PARTS[: len(documents)]
    facts = {name: _facts(document) for name, document in zip(names, documents, strict=True)}
    rows = []
    for label in facts["suite"]:
        said = {name: own[label] for name, own in facts.items()}
        if len(set(said.values())) == 1:
            rows.append([label, said["suite"]])
        else:
            rows.append([label, "; ".join(f"{name}: {value}" for name, value in said.items())])
    return table(["", "measured with"], rows)


def floor_table(document: Document) -> str:
    """What one process does without a server: the two networks alone, and the whole pipeline."""
    floor = document["floor"]
    if floor is None:
        return f"The floor was {NOT_MEASURED}."
    cores = floor["cores"]
    networks = [
        [NETWORKS, f"{name}, {cores} threads", NONE, cell(value)]
        for name, value in floor["network_ms"].items()
    ]
    rows = []
    for what, ways, between in ((NETWORKS, floor, networks), (PIPELINE, floor["pipeline"], [])):
        if ways is None:
            rows.append([what, NOT_MEASURED, NONE, NONE])
            continue
        sequential = [cell(ways["sequential_per_s"], 2), cell(ways["sequential_ms"])]
        parallel = [cell(ways["parallel_per_s"], 2), cell(ways["parallel_ms"])]
        rows += [
            [what, f"one case after another, {cores} threads", *sequential],
            *between,
            [what, f"{cores} cases at once, one thread each", *parallel],
        ]
    return table(["in one process", "how", "cases/s", "median, ms"], rows)


def scenario_table(document: Document) -> str:
    """Every scenario with its rate, its latencies and its verdict."""
    rows = [
        [
            run["scenario"]["name"],
            run["scenario"]["loop"],
            figure(run["summary"]["requests"], 0),
            figure(sum(run["summary"]["failures"].values()), 0),
            f"{run['summary']['turned_away_share']:.1%}",
            cell(run["summary"]["rate_per_s"], 2),
            cell(run["summary"]["goodput_per_s"], 2),
            *(cell(run["summary"]["latency_ms"].get(name)) for name in _PERCENTILES),
            verdict_cell(run["verdict"]),
        ]
        for run in document["runs"]
    ]
    head = ["scenario", "loop", "requests", "failed", "turned away"]
    head += ["screenings/s", "within the bound/s"]
    return table([*head, *(f"p{name}, ms" for name in _PERCENTILES), "verdict"], rows)


def efficiency_table(document: Document) -> str:
    """The closed loops beside both floors."""
    floor = document["floor"]
    if floor is None:
        return f"The floor was {NOT_MEASURED}."
    rows = []
    for run in document["runs"]:
        efficiency = run["efficiency"]
        if efficiency is None:
            continue
        way = efficiency["floor"]
        alone = run["scenario"]["name"] == ALONE
        above = above_floor(run, floor) if alone else None
        rows.append(
            [
                run["scenario"]["name"],
                cell(run["summary"]["rate_per_s"], 2),
                way,
                cell(floor[f"{way}_per_s"], 2),
                cell(efficiency, 3),
                cell(floor["pipeline"] and floor["pipeline"][f"{way}_per_s"], 2),
                cell(run["pipeline_efficiency"], 3),
                figure(run["server_cpu_ms"]),
                cell(run["summary"]["latency_ms"].get("50")),
                cell(above),
                run["verdict"]["word"],
            ]
        )
    head = ["closed loop", "screenings/s", "floor", f"{NETWORKS}, cases/s", "serving efficiency"]
    head += [f"{PIPELINE}, cases/s", "rate over it", "server's processor time, ms", "p50, ms"]
    return table([*head, "p50 above the floor's median, ms", "verdict"], rows)


def above_floor(run: Mapping[str, Any], floor: Mapping[str, Any]) -> dict[str, float | None] | None:
    """Take the median case of the sequential floor from a run's p50, both in ms.

    Returns:
        The difference; its ends are the widest that the two intervals allow. None where the run
        has no latency.
    """
    median, lowest = run["summary"]["latency_ms"].get("50"), floor["sequential_ms"]
    if median is None:
        return None
    return {
        end: _less(median[end], lowest[other])
        for end, other in (("value", "value"), ("low", "high"), ("high", "low"))
    }


def breakdown_table(document: Document) -> str:
    """Where the mean time of a screening goes, for one client and for eight."""
    rows: list[Sequence[str]] = []
    for name in (ALONE, CROWD):
        run = find_run(document, name)
        if run is None or run["breakdown"] is None:
            rows.append([name, NOT_MEASURED, *[NONE] * (len(ROW_PARTS) + 3)])
            continue
        found = run["breakdown"]["rows"]
        rows += [_breakdown_row(name, row) for row in found]
        sum_ms = sum(row["mean_ms"] for row in found if row["counts"])
        told = f"**end to end**, {run['verdict']['word']}"
        rows.append([name, told, f"**{figure(sum_ms, 2)}**", *[NONE] * (len(ROW_PARTS) + 2)])
    return table(["scenario", "where", "mean, ms", *ROW_PARTS, "other", "batch"], rows)


def knee_table(document: Document) -> str:
    """Every rate that the search for the knee tried, and the longer runs that confirm it."""
    knee = document["knee"]
    if knee is None:
        return f"The knee was {NOT_MEASURED}."
    rows = [
        [
            figure(probe["rate_per_s"], 2),
            "yes" if probe["passed"] else "no",
            "confirming" if probe["confirms"] else "searching",
            cell(probe["run"]["summary"]["rate_per_s"], 2),
            cell(probe["run"]["summary"]["latency_ms"].get("50")),
            cell(probe["run"]["summary"]["latency_ms"].get("99")),
            verdict_cell(probe["run"]["verdict"]),
        ]
        for probe in sorted(knee["probes"], key=lambda probe: float(probe["rate_per_s"]))
    ]
    head = ["offered/s", "passed", "run", "screenings/s", "p50, ms", "p99, ms", "verdict"]
    return f"{knee_sentence(knee)}\n\n{table(head, rows)}"


def knee_sentence(knee: Mapping[str, Any]) -> str:
    """Say between which rates the knee lies."""
    failed = knee["failed_per_s"]
    above = (
        "no rate above it was tried and failed"
        if failed is None
        else f"the lowest rate above it that failed is {figure(failed, 2)}"
    )
    confirmed = [probe["passed"] for probe in knee["probes"] if probe["confirms"]]
    again = ""
    if confirmed:
        again = " It passed a longer run." if confirmed[-1] else " No longer run passed."
    return (
        f"**{figure(knee['passed_per_s'], 2)} requests a second passed**; {above}. The search "
        f"stopped because {knee['stopped']}.{again}"
    )


def soak_table(document: Document) -> str:
    """The soak and the memory of the server and all of its processes during it."""
    run = find_run(document, "soak")
    if run is None:
        return f"A soak was {NOT_MEASURED}."
    memory = run["observed"]["memory"]
    held = [size / _BYTES_PER_GIB for size in memory["resident_bytes"]] if memory else []
    rows = [
        [
            run["scenario"]["name"],
            figure(run["summary"]["duration_s"], 0),
            figure(run["summary"]["requests"], 0),
            figure(sum(run["summary"]["failures"].values()), 0),
            f"{figure(min(held), 2)} to {figure(max(held), 2)}" if held else NOT_MEASURED,
            growth_cell(memory and memory["growth"]),
            cell(memory["slope_mb_per_hour"]) if memory else NONE,
            verdict_cell(run["verdict"]),
        ]
    ]
    head = ["scenario", "s", "requests", "failed", "resident, GiB", "growth", "MB an hour"]
    return table([*head, "verdict"], rows)


def growth_cell(growth: float | None) -> str:
    """Write by what share the memory has grown."""
    return NOT_MEASURED if growth is None else f"{growth:+.2%}"


def _breakdown_row(scenario: str, row: Mapping[str, Any]) -> list[str]:
    parts = row["part_ms"]
    name = row["name"] if row["counts"] else f"{row['name']} (beside, not in the sum)"
    return [
        scenario,
        f"{name}: scheduling, copying" if row["name"] == BETWEEN else name,
        figure(row["mean_ms"], 2),
        *(figure(parts.get(part), 2) for part in ROW_PARTS),
        figure(row["overhead_ms"] if parts else None, 2),
        figure(row["mean_batch"], 2),
    ]


def _facts(document: Document) -> dict[str, str]:
    machine, commit, pool = document["machine"], document["commit"], document["pool"]
    called = (commit["commit"] or "unknown")[:_COMMIT_DIGITS]
    return {
        "begun": document["started"],
        "commit": f"{called}, with changes" if commit["changed"] else called,
        "processor": machine["processor"],
        "cores": f"{machine['cores']} of {machine['cores_of_machine']}",
        "memory": f"{machine['memory_bytes'] / _BYTES_PER_GIB:.1f} GiB",
        "system": machine["system"],
        "networks": str(document["server"]["weights"]),
        "images": (
            f"{pool['images']}: {pool['nodule']} with a nodule, {pool['no_nodule']} without, "
            f"{pool['corrupt']} corrupt; {figure(pool['mean_bytes'], 0)} bytes on average"
        ),
        "seeds": f"images {document['seeds']['pool']}, order {document['seeds']['order']}",
        "versions": ", ".join(
            [
                f"Python {machine['python']}",
                *(
                    f"{name} {version or 'not installed'}"
                    for name, version in document["versions"].items()
                ),
            ]
        ),
    }


def _less(some: float | None, other: float | None) -> float | None:
    return None if some is None or other is None else some - other
