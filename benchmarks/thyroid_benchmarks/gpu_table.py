"""The table of a GPU's measurement in Markdown, from its result document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from thyroid_benchmarks.breakdown import ROW_PARTS
from thyroid_benchmarks.markdown import NOT_MEASURED, cell, table, verdict_cell
from thyroid_benchmarks.report import figure
from thyroid_pipeline import contract

Document = Mapping[str, Any]


def render_table(document: Document) -> str:
    """Write the whole page.

    Args:
        document: A result with the part `gpu`, see `gpu_command`.

    Returns:
        Markdown.
    """
    gpu = document["gpu"]
    return "\n".join(
        [
            f"# Measured: profile `{gpu['profile']}`",
            "",
            *_circumstances(document),
            "",
            "## Rates and latencies",
            "",
            _runs(document),
            "",
            "Latencies in ms with 95% intervals. The generator is one process: near 1 core it is "
            f"itself the limit. {_utilisation_note(gpu)}",
            "",
            *_knee(document),
            *_floor(document),
            "",
            *_breakdowns(document),
            "## The ceiling",
            "",
            *_ceiling(gpu),
            "",
        ]
    )


def _circumstances(document: Document) -> Iterator[str]:
    gpu, machine, commit = document["gpu"], document["machine"], document["commit"]
    devices = ", ".join(
        f"{one['name']} (compute capability {one['compute_capability']}, driver {one['driver']})"
        for one in gpu["devices"]
    )
    state = {True: " with changes", False: "", None: ""}[commit["changed"]]
    versions = {name: version for name, version in document["versions"].items() if version}
    versions |= gpu["runtimes"]
    rows = [
        ("GPU", devices or "none"),
        ("processor", f"{machine['processor']}, {machine['cores']} cores"),
        ("system", f"{machine['system']}, Python {machine['python']}"),
        ("commit", f"{commit['commit'] or 'none'}{state}"),
        ("when", document["started"]),
        ("seeds", ", ".join(f"{name} {seed}" for name, seed in document["seeds"].items())),
        ("networks", f"`{document['server']['weights']}`; {_plans(gpu)}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))),
    ]
    yield table(["what", "which"], rows)


def _plans(gpu: Mapping[str, Any]) -> str:
    if not gpu["plans"]:
        return "no plans"
    return ", ".join(
        f"{plan['model']}: {plan['runtime']} {plan['runtime_version']}, {plan['precision']}, batch "
        f"{plan['batch']['min']} to {plan['batch']['max']}"
        for plan in gpu["plans"]
    )


def _runs(document: Document) -> str:
    head = ["run", "screenings/s", "p50", "p99"]
    head += [f"mean batch, {model.name}" for model in contract.NETWORKS]
    rows = []
    for run, beside in zip(document["runs"], document["gpu"]["runs"], strict=True):
        summary = run["summary"]
        batches = {row["name"]: row["mean_batch"] for row in _rows_of(run)}
        busy = beside["utilisation"]
        rows.append(
            [
                run["scenario"]["name"],
                cell(summary["rate_per_s"]),
                *(cell(summary["latency_ms"].get(percent)) for percent in ("50", "99")),
                *(figure(batches.get(model.name), 2) for model in contract.NETWORKS),
                NOT_MEASURED if busy is None else f"{busy['mean']:.0%}",
                figure(run["observed"]["generator_share"] * document["machine"]["cores"], 2),
                verdict_cell(run["verdict"]),
            ]
        )
    return table([*head, "GPU at work", "generator's cores", "verdict"], rows)


def _rows_of(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [] if run["breakdown"] is None else list(run["breakdown"]["rows"])


def _utilisation_note(gpu: Mapping[str, Any]) -> str:
    told = gpu["utilisation"]
    if told["source"] is None:
        return f"How busy the GPU was is not measured: {told['absence']}."
    return f"How busy the GPU was is told by {told['source']}."


def _knee(document: Document) -> Iterator[str]:
    knee = document["knee"]
    above = "" if knee["failed_per_s"] is None else f"; {knee['failed_per_s']:.2f} failed"
    bound_ms = document["runs"][0]["scenario"]["bound_ms"]
    yield (
        f"Knee, p99 within {bound_ms:g} ms of the scheduled time: {knee['passed_per_s']:.2f} "
        f"requests/s passed{above} ({knee['stopped']})."
    )


def _floor(document: Document) -> Iterator[str]:
    floor = document["floor"]
    if floor is not None:
        yield ""
        yield (
            "The networks alone, in one process without a server: "
            f"{cell(floor['parallel_per_s'])} cases/s, {floor['cores']} at once."
        )


def _breakdowns(document: Document) -> Iterator[str]:
    loops = [run for run in document["runs"] if run["breakdown"] and run["summary"]["latency_ms"]]
    if not loops:
        return
    busiest = max(loops, key=lambda run: run["summary"]["rate_per_s"]["value"])
    for run in (loops[0], *([] if busiest is loops[0] else [busiest])):
        yield f"## Where the time goes: {run['scenario']['name']}"
        yield ""
        yield table(
            ["step", "mean ms", *ROW_PARTS],
            [
                [
                    row["name"]
                    if row["counts"]
                    else f"{row['name']} (beside another, not in the sum)",
                    figure(row["mean_ms"], 2),
                    *(figure(row["part_ms"].get(part), 2) for part in ROW_PARTS),
                ]
                for row in _rows_of(run)
            ]
            + [
                [
                    "end to end",
                    figure(run["breakdown"]["end_to_end_ms"], 2),
                    *["" for _ in ROW_PARTS],
                ]
            ],
        )
        yield ""


def _ceiling(gpu: Mapping[str, Any]) -> Iterator[str]:
    work = gpu["work"]
    each = ", ".join(f"{name} {flop / 1e9:.2f}" for name, flop in work["flop_per_case"].items())
    yield (
        f"A case is {sum(work['flop_per_case'].values()) / 1e9:.2f} GFLOP of products ({each}). At "
        f"the highest rate, {work['rate_per_s']:.1f} screenings/s, that is "
        f"{work['flop_per_s'] / 1e12:.3f} TFLOP/s."
    )
    ceiling = gpu["ceiling"]
    yield ""
    if ceiling["absence"]:
        yield f"The ceiling of matrix products is not measured: {ceiling['absence']}."
        return
    yield table(
        ["type", "matrix products, TFLOP/s", "share that is used"],
        [
            [kind, figure(most / 1e12, 2), f"{work['shares'][kind]:.1%}"]
            for kind, most in ceiling["flop_per_s"].items()
        ],
    )
