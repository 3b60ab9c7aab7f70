"""Why a target was missed: sentences for docs/performance.md, of figures in the same results.

What is INVALID is not cited here either. Where the results hold nothing that explains it, a
sentence says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thyroid_benchmarks.breakdown import CORE_WAIT, INFERENCE
from thyroid_benchmarks.markdown import Document, find_run
from thyroid_benchmarks.peer_list import OURS, TUTORIAL
from thyroid_benchmarks.performance_tables import ALONE, CROWD
from thyroid_benchmarks.report import figure
from thyroid_pipeline import contract

NOTHING = "nothing in these results explains it"
_STEPS = (contract.FRAME_DECODER.name, contract.ROI_CROPPER.name)
_WAYS = {1: "sequential"}
_BEST_FIGURES = {"rate": "rate_per_s", "p95": "p95_ms"}
_RUNS = {1: ALONE, 8: CROWD}


def of_efficiency(suite: Document, clients: int) -> str:
    """What decoding and cropping leave of the networks' floor, and how near ours is to that."""
    floor, run = suite["floor"], _valid(suite, clients)
    told = []
    way = _WAYS.get(clients, "parallel")
    if floor is not None and (steps := step_ms(suite)) is not None:
        case_ms = floor[f"{way}_ms"]["value"]
        most = case_ms / (case_ms + sum(steps.values()))
        told.append(
            f"{_steps(steps)} on a core, beside the networks' {figure(case_ms)} ms: a server that "
            f"takes these steps on these cores has at most {figure(most, 3)} of the floor"
        )
    if floor is not None and floor["pipeline"] is not None:
        share = floor["pipeline"][f"{way}_per_s"]["value"] / floor[f"{way}_per_s"]["value"]
        ours = run and run["pipeline_efficiency"]
        after = f", and ours {figure(ours['value'], 3)} of that" if ours else ""
        told.append(
            f"the whole pipeline in one process, without a server, has {figure(share, 3)} of it"
            f"{after}"
        )
    return _sentences(told)


def of_latency(suite: Document, allowed_ms: float) -> str:
    """What decoding and cropping take of what is allowed above the networks."""
    told = []
    if (steps := step_ms(suite)) is not None:
        told.append(
            f"{_steps(steps)}, {figure(sum(steps.values()))} ms together of the "
            f"{figure(allowed_ms)} ms allowed"
        )
    return _sentences([*told, *_parts(suite, 1)])


def of_offline(suite: Document) -> str:
    """What rate the floors and the steps leave."""
    floor = suite["floor"]
    if floor is None:
        return NOTHING
    rate = floor["parallel_per_s"]["value"]
    told = [f"the networks alone do {figure(rate, 2)} cases/s on all cores"]
    if (steps := step_ms(suite)) is not None:
        case_ms = floor["parallel_ms"]["value"]
        most = rate * case_ms / (case_ms + sum(steps.values()))
        told.append(f"{_steps(steps)} on a core, which leaves at most {figure(most, 2)}/s")
    if floor["pipeline"] is not None:
        whole = floor["pipeline"]["parallel_per_s"]["value"]
        told.append(f"the whole pipeline in one process does {figure(whole, 2)}/s")
    return _sentences(told)


def of_best(best: Mapping[str, Any], suite: Document, field: str) -> str:
    """Where the best of the others and ours stand, and what ours spends its time on.

    Args:
        best: Of a part's `best`: one number of clients.
        suite: With floor and runs.
        field: `rate` or `p95`.
    """
    title, clients = best["titles"][field], best["clients"]
    told = []
    if title is not None and best[field] is not None:
        name = _BEST_FIGURES[field]
        values = {one: best["figures"][one][name]["value"] for one in (OURS, title)}
        told.append(
            f"ours has {_figure(name, values[OURS], suite, clients)}, and {title}, the best, "
            f"{_figure(name, values[title], suite, clients)}"
        )
        cpu_ms = [best["figures"][one]["server_cpu_ms"] for one in (OURS, title)]
        if None not in cpu_ms:
            ours_ms, theirs_ms = (figure(one["value"]) for one in cpu_ms)
            told.append(
                f"a screening takes {ours_ms} ms of processor time of our server, and {theirs_ms} "
                f"ms of {title}"
            )
    return _sentences([*told, *_parts(suite, clients)])


def of_tutorial(found: Mapping[str, Any], suite: Document, clients: int) -> str:
    """What both serve, and which share of the floor that is."""
    rates = {
        one["name"]: point["rate_per_s"]["value"]
        for one in found["contestants"]
        for point in one["points"]
        if point["clients"] == clients and point["rate_per_s"] is not None
    }
    if not {OURS, TUTORIAL} <= rates.keys():
        return NOTHING
    ours, theirs = (_figure("rate_per_s", rates[name], suite, clients) for name in (OURS, TUTORIAL))
    return _sentences([f"ours has {ours}, and the tutorial's ensemble {theirs}"])


def of_soak(soak: Document) -> str:
    """Which requests failed, and how fast the memory grew."""
    run = find_run(soak, "soak")
    if run is None:
        return NOTHING
    kinds = ", ".join(f"{kind} {count}" for kind, count in run["summary"]["failures"].items())
    told = [f"failed: {kinds}"] if kinds else []
    slope = (run["observed"]["memory"] or {}).get("slope_mb_per_hour")
    if slope is not None:
        told.append(f"memory grew by {figure(slope['value'])} MB an hour")
    return _sentences(told)


def of_agreement(found: Mapping[str, Any]) -> str:
    """What the cross-check itself says of the points that differ."""
    return _sentences(
        [
            f"{point['scenario']['name']}: {reason}"
            for point in found["points"]
            if any(one["agrees"] is False for one in point["figures"].values())
            for reason in point["reasons"]
        ]
    )


def step_ms(suite: Document) -> dict[str, float] | None:
    """Return the ms that decoder and cropper take of a case where one client leaves them cores.

    Returns:
        By name; None without a VALID run of one client that was divided.
    """
    run = _valid(suite, 1)
    if run is None or run["breakdown"] is None:
        return None
    rows = {row["name"]: row["part_ms"] for row in run["breakdown"]["rows"]}
    return {name: rows[name][INFERENCE] for name in _STEPS}


def _parts(suite: Document, clients: int) -> list[str]:
    """Say what a screening of ours spends its time on."""
    run = _valid(suite, clients)
    if run is None or run["breakdown"] is None:
        return []
    rows = [row for row in run["breakdown"]["rows"] if row["counts"]]
    spent = {
        part: sum(row["part_ms"].get(part, 0.0) for row in rows)
        for part in (INFERENCE, CORE_WAIT, "queue")
    }
    whole_ms = run["breakdown"]["end_to_end_ms"]
    rest_ms = whole_ms - sum(spent.values())
    return [
        f"of the mean {figure(whole_ms)} ms of a screening of ours {figure(spent[INFERENCE])} are "
        f"the steps at work, {figure(spent[CORE_WAIT])} the wait for a core, "
        f"{figure(spent['queue'])} queues, {figure(rest_ms)} copies, scheduling and transport"
    ]


def _figure(name: str, value: float, suite: Document, clients: int) -> str:
    """Write a figure; a rate with its share of the floor."""
    if name != "rate_per_s":
        return f"{figure(value)} ms"
    floor = suite["floor"]
    text = f"{figure(value, 2)} screenings/s"
    if floor is None:
        return text
    base = floor[f"{_WAYS.get(clients, 'parallel')}_per_s"]["value"]
    return f"{text}, {figure(value / base, 3)} of the floor"


def _steps(steps: Mapping[str, float]) -> str:
    taken = " and ".join(f"{name} {figure(value)} ms" for name, value in steps.items())
    return f"of a case {taken}"


def _valid(suite: Document, clients: int) -> Mapping[str, Any] | None:
    run = find_run(suite, _RUNS.get(clients, f"{clients} clients"))
    return run if run is not None and run["verdict"]["word"] == "VALID" else None


def _sentences(told: list[str]) -> str:
    return ". ".join(f"{text[:1].upper()}{text[1:]}" for text in told) or NOTHING
