"""`scenarios.py layouts`: our own choices, each against what else it could have been."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import click

from thyroid_benchmarks.cli_parts import Setting, now, setting_options
from thyroid_benchmarks.console import floor_lines
from thyroid_benchmarks.layouts_contestants import Layout, as_contestants, make_layouts
from thyroid_benchmarks.layouts_results import layout_lines, layouts_document
from thyroid_benchmarks.peer_comparison import compare_peers
from thyroid_benchmarks.peer_figures import PeerPlan
from thyroid_benchmarks.peer_list import OURS
from thyroid_benchmarks.preparation import floor_in_a_process
from thyroid_benchmarks.scenarios import Wish
from thyroid_benchmarks.suite import FULL, SHORT
from thyroid_benchmarks.verdict import Rules
from thyroid_server.cores import usable_cores

_SHORT_PLAN = PeerPlan(rounds=2, wish=Wish(duration_s=6, warmup_s=1.5))
_FULL_PLAN = PeerPlan(rounds=5, wish=Wish(duration_s=20, warmup_s=3))
_NOWHERE = "127.0.0.1:0"  # every layout has a server of its own


@click.command()
@click.option(
    "--short",
    "form",
    flag_value="short",
    default="short",
    help="2 rounds of 6 s a point: about a quarter of an hour.",
)
@click.option("--full", "form", flag_value="full", help="5 rounds of 20 s a point.")
@setting_options(server=False)
@click.option("--only", multiple=True, help="Measure this layout beside ours; may be repeated.")
@click.option(
    "--clients", type=click.IntRange(1), multiple=True, default=(1, 4, 8), show_default=True
)
@click.option("--rounds", type=click.IntRange(1), help="How often each is measured.")
@click.option("--duration-s", type=click.FloatRange(1), help="Of each point, without its warm-up.")
def layouts(
    *,
    form: str,
    setting: Setting,
    only: tuple[str, ...],
    clients: tuple[int, ...],
    rounds: int | None,
    duration_s: float | None,
) -> None:
    """Measure our layout against others, in turns: instances, threads, batches, hops, transport.

    Nothing else should be at work meanwhile. Exit code 1 where a layout could not be measured.
    """
    started = now()
    plan, suite = (_FULL_PLAN, FULL) if form == "full" else (_SHORT_PLAN, SHORT)
    wish = replace(plan.wish, duration_s=duration_s or plan.wish.duration_s)
    # What counts here are ratios of many short runs: each must be right, but need not be long.
    rules = Rules(min_duration_s=wish.duration_s / 2, min_requests=1, min_compared=1)
    plan = replace(plan, clients=clients, rounds=rounds or plan.rounds, wish=wish, rules=rules)
    chosen = _chosen(setting.model_repository, only)
    pool = setting.pool()
    floor = floor_in_a_process(
        pool, setting.model_repository, suite.floor_cases, suite.floor_rounds
    )
    click.echo(floor_lines(floor))
    subject = setting.subject(_NOWHERE, pool, rules)
    contestants = as_contestants(chosen, setting.model_repository, subject)
    comparison = asyncio.run(compare_peers(contestants, subject, plan, click.echo))
    click.echo(layout_lines(comparison, chosen, floor))
    setting.write(
        subject,
        started,
        beside=[run.measured for run in comparison.runs],
        lowest=floor,
        parts={"layouts": layouts_document(comparison, chosen, floor)},
    )
    raise SystemExit(bool(comparison.faults))


def _chosen(model_repository: Path, only: tuple[str, ...]) -> list[Layout]:
    every = make_layouts(model_repository, usable_cores())
    known = [layout.name for layout in every]
    if unknown := sorted(set(only) - set(known)):
        raise click.BadParameter(
            f"there is no layout {', '.join(unknown)}; one of {', '.join(known)} was wanted",
            param_hint="--only",
        )
    return [layout for layout in every if not only or layout.name in {OURS, *only}]
