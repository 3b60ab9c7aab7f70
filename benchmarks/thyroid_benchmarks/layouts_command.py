"""`scenarios.py layouts`: our own choices, each against what else it could have been."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from thyroid_benchmarks.cli_comparisons import RUN_OFF_ROUNDS
from thyroid_benchmarks.cli_parts import Setting, now, setting_options
from thyroid_benchmarks.console import floor_lines
from thyroid_benchmarks.floor import Floor
from thyroid_benchmarks.layouts_contestants import Layout, as_contestants, make_layouts
from thyroid_benchmarks.layouts_results import layout_lines, layouts_document
from thyroid_benchmarks.measure import Measured, Subject
from thyroid_benchmarks.peer_comparison import compare_peers
from thyroid_benchmarks.peer_list import OURS
from thyroid_benchmarks.preparation import floor_in_a_process
from thyroid_benchmarks.run_off import run_off
from thyroid_benchmarks.suite import FULL, SHORT, Plan
from thyroid_benchmarks.verdict import Rules
from thyroid_server.cores import usable_cores

_NOWHERE = "127.0.0.1:0"  # every layout has a server of its own


@click.command()
@click.option(
    "--short",
    "form",
    flag_value="short",
    default="short",
    help="2 rounds of 6 s a point, then the best: about half an hour.",
)
@click.option("--full", "form", flag_value="full", help="5 rounds of 20 s a point.")
@setting_options(server=False)
@click.option("--only", multiple=True, help="Measure this layout beside ours; may be repeated.")
@click.option(
    "--clients", type=click.IntRange(1), multiple=True, default=(1, 4, 8), show_default=True
)
@click.option("--rounds", type=click.IntRange(1), help="How often each is measured.")
@RUN_OFF_ROUNDS
@click.option("--duration-s", type=click.FloatRange(1), help="Of each point, without its warm-up.")
def layouts(
    *,
    form: str,
    setting: Setting,
    only: tuple[str, ...],
    clients: tuple[int, ...],
    rounds: int | None,
    run_off_rounds: int,
    duration_s: float | None,
) -> None:
    """Measure our layout against others, in turns: instances, threads, batches, hops, transport.

    Nothing else should be at work meanwhile. Exit code 1 where a layout could not be measured.
    """
    started = now()
    suite = FULL if form == "full" else SHORT
    wish = replace(suite.layouts.wish, duration_s=duration_s or suite.layouts.wish.duration_s)
    plan = replace(
        suite.layouts,
        clients=clients,
        rounds=rounds or suite.layouts.rounds,
        run_off_rounds=run_off_rounds,
        wish=wish,
    )
    chosen = _chosen(setting.model_repository, only)
    pool = setting.pool()
    subject = setting.subject(_NOWHERE, pool)
    result, runs, floor = measured_layouts(
        replace(suite, layouts=plan), subject, setting, pool, chosen
    )
    setting.write(subject, started, beside=runs, lowest=floor, parts={"layouts": result})
    faulty = any(one["fault"] for one in result["contestants"])
    raise SystemExit(faulty or any(one["faults"] for one in result["best"]))


def measured_layouts(
    suite: Plan,
    subject: Subject,
    setting: Setting,
    pool: Path,
    chosen: Sequence[Layout] | None = None,
) -> tuple[dict[str, Any], list[Measured], Floor]:
    """Measure the floor and the layouts; return the part of the result, its runs, and the floor.

    Args:
        suite: Says how much, of the floor and of the layouts.
        subject: Images and right answers.
        setting: Says whose layouts.
        pool: The folder of the images.
        chosen: Which layouts, ours among them; all by default.
    """
    if chosen is None:
        chosen = make_layouts(setting.model_repository, usable_cores())
    floor = floor_in_a_process(
        pool, setting.model_repository, suite.floor_cases, suite.floor_rounds
    )
    click.echo(floor_lines(floor))
    # What counts here are ratios of many short runs: each must be right, but need not be long.
    rules = Rules(min_duration_s=suite.layouts.wish.duration_s / 2, min_requests=1, min_compared=1)
    own, plan = replace(subject, rules=rules), replace(suite.layouts, rules=rules)
    contestants = as_contestants(chosen, setting.model_repository)
    comparison = asyncio.run(compare_peers(contestants, own, plan, click.echo))
    rivals = [layout.name for layout in chosen if layout.is_fixed]
    best = asyncio.run(run_off(comparison, rivals, own, click.echo))
    click.echo(layout_lines(comparison, best, floor))
    result = layouts_document(comparison, best, chosen, floor)
    runs = [run.measured for run in comparison.runs] + [run for one in best for run in one.runs]
    return result, runs, floor


def _chosen(model_repository: Path, only: tuple[str, ...]) -> list[Layout]:
    every = make_layouts(model_repository, usable_cores())
    known = [layout.name for layout in every]
    if unknown := sorted(set(only) - set(known)):
        raise click.BadParameter(
            f"there is no layout {', '.join(unknown)}; one of {', '.join(known)} was wanted",
            param_hint="--only",
        )
    return [layout for layout in every if not only or layout.name in {OURS, *only}]
