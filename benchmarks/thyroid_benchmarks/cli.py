"""`python -m thyroid_benchmarks`: measures a server and writes the report."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import click

from thyroid_benchmarks.cli_comparisons import cross_check, peers
from thyroid_benchmarks.cli_parts import (
    CHECKOUT,
    FOLDER,
    Pace,
    Setting,
    now,
    pace_options,
    setting_options,
)
from thyroid_benchmarks.compare import DEFAULT_ALLOWED, compare
from thyroid_benchmarks.console import floor_lines, knee_line, run_line, with_ends
from thyroid_benchmarks.kept import keep
from thyroid_benchmarks.knee_search import search
from thyroid_benchmarks.layouts_command import layouts
from thyroid_benchmarks.measure import measure
from thyroid_benchmarks.preparation import floor_in_a_process
from thyroid_benchmarks.report import render_report
from thyroid_benchmarks.results import read_result
from thyroid_benchmarks.scenarios import Name, Wish, make_scenario
from thyroid_benchmarks.suite import SHORT
from thyroid_benchmarks.suite_command import suite

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(context_settings={"max_content_width": 100})
def main() -> None:
    """Measure the served screening: scenarios, floor, knee, report, regression check."""


@main.command()
@setting_options(server=False)
def prepare(*, setting: Setting) -> None:
    """Make the images and their right answers; print their folder.

    The other commands do it by themselves where it has not been done. Locust takes the folder by
    --pool.
    """
    click.echo(setting.pool())


@main.command()
@click.argument("scenario", type=click.Choice(get_args(Name)))
@setting_options()
@pace_options()
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=8.0,
    show_default=True,
    help="Of server and soak; step climbs to it, spike leaps over it; offline takes it for what "
    "the server does and warms up accordingly.",
)
@click.option("--clients", type=click.IntRange(1), default=8, show_default=True)
@click.option("--images-per-query", type=click.IntRange(1), default=8, show_default=True)
@click.option("--offline-images", type=click.IntRange(1), default=600, show_default=True)
def run(
    *,
    scenario: Name,
    setting: Setting,
    pace: Pace,
    rate: float,
    clients: int,
    images_per_query: int,
    offline_images: int,
) -> None:
    """Run one SCENARIO. Exit code 1 where the run is INVALID."""
    started = now()
    wish = Wish(
        **asdict(pace),
        seed=setting.seed,
        clients=clients,
        images_per_query=images_per_query,
        rate_per_s=rate,
        images=offline_images,
    )
    pool = setting.pool()
    with setting.serving() as served:
        subject = setting.subject(served.grpc, pool, metrics=served.metrics)
        measured = asyncio.run(measure(make_scenario(scenario, wish), subject))
    click.echo(run_line(measured))
    setting.write(subject, started, runs=[measured])
    raise SystemExit(0 if measured.verdict.valid else 1)


@main.command()
@setting_options()
@pace_options()
@click.option("--start", type=click.FloatRange(0, min_open=True), default=8.0, show_default=True)
@click.option("--resolution", type=click.FloatRange(0.001), default=0.05, show_default=True)
@click.option("--max-probes", type=click.IntRange(1), default=12, show_default=True)
@click.option(
    "--confirm-s",
    type=click.FloatRange(1),
    default=60.0,
    show_default=True,
    help="Duration of the run that confirms the rate found.",
)
def knee(
    *,
    setting: Setting,
    pace: Pace,
    start: float,
    resolution: float,
    max_probes: int,
    confirm_s: float,
) -> None:
    """Search for the highest rate at which the 99th percentile stays within the bound."""
    started = now()
    wish = Wish(**asdict(pace), seed=setting.seed)
    pool = setting.pool()
    with setting.serving() as served:
        subject = setting.subject(served.grpc, pool, metrics=served.metrics)
        found = asyncio.run(
            search(
                subject,
                wish,
                start,
                resolution=resolution,
                max_probes=max_probes,
                say=click.echo,
                confirm_s=confirm_s,
            )
        )
    click.echo(knee_line(found))
    setting.write(subject, started, found=found)


@main.command()
@setting_options(server=False)
@click.option("--cases", type=click.IntRange(1), default=SHORT.floor_cases, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=SHORT.floor_rounds, show_default=True)
def floor(*, setting: Setting, cases: int, rounds: int) -> None:
    """Measure the two networks alone; no server should be at work meanwhile."""
    lowest = floor_in_a_process(setting.pool(), setting.model_repository, cases, rounds)
    click.echo(floor_lines(lowest))


@main.command()
@click.argument("result", type=_FILE)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the page.  [default: report.html beside RESULT]",
)
def report(*, result: Path, html: Path | None) -> None:
    """Write the page of a RESULT, a JSON file of `run`, `knee` or `suite`."""
    target = html or result.with_name("report.html")
    target.write_text(render_report(_read(result)), encoding="utf-8")
    click.echo(target)


@main.command(name="keep")
@click.argument("result", type=_FILE)
@click.option(
    "--into",
    type=FOLDER,
    default=CHECKOUT / "docs" / "figures" / "performance",
    show_default=False,
    help="[default: docs/figures/performance of this checkout]",
)
def keep_command(*, result: Path, into: Path) -> None:
    """Keep each part of a RESULT as a file of its own; `make docs` then fills the documents."""
    try:
        paths = keep(_read(result), into)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    for path in paths:
        click.echo(path)


@main.command(name="compare")
@click.argument("before", type=_FILE)
@click.argument("after", type=_FILE)
@click.option("--allowed", type=click.FloatRange(0), default=DEFAULT_ALLOWED, show_default=True)
def compare_command(*, before: Path, after: Path, allowed: float) -> None:
    """Compare two results by ratios. Exit code 1 where a figure is worse than is allowed."""
    try:
        comparison = compare(_read(before), _read(after), allowed)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    for warning in comparison.warnings:
        click.echo(f"warning: {warning}", err=True)
    for change in comparison.changes:
        sign = "WORSE " if change.worse else "      "
        click.echo(
            f"{sign}{change.figure:34} {change.before.value:9.2f} {change.after.value:9.2f}  "
            f"ratio {with_ends(change.ratio)}"
        )
    raise SystemExit(1 if comparison.worse else 0)


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_result(path)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


main.add_command(suite)
main.add_command(peers)
main.add_command(layouts)
main.add_command(cross_check)
