"""`scenarios.py suite`: everything at once, written down after each part."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from thyroid_benchmarks.cli_comparisons import (
    measured_cross_check,
    measured_peers,
    measured_tutorial,
)
from thyroid_benchmarks.cli_parts import FOLDER, Setting, now, setting_options
from thyroid_benchmarks.console import floor_lines, knee_line
from thyroid_benchmarks.knee import Knee
from thyroid_benchmarks.layouts_command import measured_layouts
from thyroid_benchmarks.measure import Measured
from thyroid_benchmarks.plan_duration import plan_line, planned_s
from thyroid_benchmarks.preparation import floor_in_a_process
from thyroid_benchmarks.suite import FULL, SHORT
from thyroid_benchmarks.suite_run import run_suite
from thyroid_benchmarks.verdict import Rules


@click.command()
@click.option("--short", "form", flag_value="short", default="short", help="Under 10 minutes.")
@click.option(
    "--full",
    "form",
    flag_value="full",
    help="Under 40 minutes; with --beside under two hours.",
)
@click.option(
    "--beside",
    type=FOLDER,
    help="Compare with the peers and with other layouts as well, and cross-check by perf_analyzer; "
    "what peers and perf_analyzer need is fetched into this folder.",
)
@setting_options(images=False)
def suite(*, form: str, beside: Path | None, setting: Setting) -> None:
    """Measure everything: floor, scenarios, knee. Exit code 1 where a scenario is INVALID.

    The result is written after every scenario and every part, so that what was measured stays
    where a later one is interrupted.
    """
    started = now()
    plan = FULL if form == "full" else SHORT
    click.echo(plan_line(planned_s(plan, beside=beside is not None)))
    pool = setting.pool(plan.images)
    lowest = floor_in_a_process(pool, setting.model_repository, plan.floor_cases, plan.floor_rounds)
    click.echo(floor_lines(lowest))
    parts: dict[str, Any] = {}
    extra: list[Measured] = []
    with setting.serving() as served:
        subject = setting.subject(served.grpc, pool, plan.rules, served.metrics)

        def save(
            runs: Sequence[Measured], found: Knee[Measured] | None, *, page: bool = False
        ) -> None:
            setting.write(
                subject,
                started,
                runs=runs,
                beside=extra,
                lowest=lowest,
                found=found,
                parts=parts,
                page=page,
            )

        save([], None)
        runs, found = asyncio.run(run_suite(plan, subject, click.echo, save))
        if found is not None:
            click.echo(knee_line(found))
        save(runs, found, page=True)
        if beside is not None:
            # Those of the plan are for its own, longer runs.
            checked = replace(subject, rules=Rules())
            part, compared = measured_cross_check(plan.cross_check, checked, beside)
            parts["cross_check"] = part
            extra += compared
            save(runs, found, page=True)
    if beside is None:
        parts["peers"], compared = measured_tutorial(subject, setting)
        extra += compared
        save(runs, found, page=True)
    else:
        parts["peers"], compared = measured_peers(plan.peers, subject, setting, beside)
        extra += compared
        save(runs, found, page=True)
        parts["layouts"], laid, _ = measured_layouts(plan, subject, setting, pool)
        extra += laid
        save(runs, found, page=True)
    raise SystemExit(0 if all(run.verdict.valid for run in runs) else 1)
