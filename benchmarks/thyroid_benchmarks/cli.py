"""`python -m thyroid_benchmarks`: measures a server and writes the report."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, get_args

import click
from tritonclient.utils import InferenceServerException

from thyroid_benchmarks.compare import DEFAULT_ALLOWED, compare
from thyroid_benchmarks.console import floor_lines, knee_line, run_line, with_ends
from thyroid_benchmarks.floor import Floor
from thyroid_benchmarks.knee import Knee
from thyroid_benchmarks.measure import Measured, Subject, measure
from thyroid_benchmarks.preparation import (
    Images,
    floor_in_a_process,
    make_subject,
    prepare_images,
)
from thyroid_benchmarks.report import render_report
from thyroid_benchmarks.results import document, read_result, write_result
from thyroid_benchmarks.scenarios import Name, Wish, make_scenario
from thyroid_benchmarks.suite import FULL, SHORT, run_suite, search
from thyroid_benchmarks.verdict import Rules
from thyroid_pipeline import contract
from thyroid_server.embedded import EmbeddedTriton
from thyroid_server.settings import ServerSettings

_CHECKOUT = Path(__file__).resolve().parents[2]
_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_server = click.option(
    "--server",
    help="host:port of a running server's gRPC port. It must serve --model-repository.  [default: "
    "start one, on free ports]",
)
_repository = click.option(
    "--model-repository", type=_FOLDER, default=_CHECKOUT / "model_repository", show_default=False
)
_out = click.option("--out", type=_FOLDER, default=Path("runs/benchmarks"), show_default=True)
_images = click.option("--images", type=click.IntRange(1), default=SHORT.images, show_default=True)
_seed = click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
_duration = click.option("--duration-s", type=click.FloatRange(1), default=30.0, show_default=True)
_warmup = click.option("--warmup-s", type=click.FloatRange(0), default=3.0, show_default=True)
_bound = click.option("--bound-ms", type=click.FloatRange(1), default=1000.0, show_default=True)


@click.group(context_settings={"max_content_width": 100})
def main() -> None:
    """Measure the served screening: scenarios, floor, knee, report, regression check."""


@main.command()
@_repository
@_out
@_images
@_seed
def prepare(*, model_repository: Path, out: Path, images: int, seed: int) -> None:
    """Make the images and their right answers; print their folder.

    The other commands do it by themselves where it has not been done. Locust takes the folder by
    --pool.
    """
    click.echo(prepare_images(Images(out, images, seed), model_repository))


@main.command()
@click.argument("scenario", type=click.Choice(get_args(Name)))
@_server
@_repository
@_out
@_images
@_seed
@_duration
@_warmup
@_bound
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=8.0, show_default=True)
@click.option("--clients", type=click.IntRange(1), default=8, show_default=True)
@click.option("--images-per-query", type=click.IntRange(1), default=8, show_default=True)
@click.option("--offline-images", type=click.IntRange(1), default=400, show_default=True)
def run(
    *,
    scenario: Name,
    server: str | None,
    model_repository: Path,
    out: Path,
    images: int,
    seed: int,
    duration_s: float,
    warmup_s: float,
    bound_ms: float,
    rate: float,
    clients: int,
    images_per_query: int,
    offline_images: int,
) -> None:
    """Run one SCENARIO. Exit code 1 where the run is INVALID."""
    started = _now()
    wish = Wish(
        duration_s=duration_s,
        warmup_s=warmup_s,
        bound_ms=bound_ms,
        seed=seed,
        clients=clients,
        images_per_query=images_per_query,
        rate_per_s=rate,
        images=offline_images,
    )
    pool = prepare_images(Images(out, images, seed), model_repository)
    with _serving(server, model_repository, out) as address:
        subject = make_subject(address, pool, model_repository, Rules(), seed)
        measured = asyncio.run(measure(make_scenario(scenario, wish), subject))
    click.echo(run_line(measured))
    _write(out, subject, started, runs=[measured])
    raise SystemExit(0 if measured.verdict.valid else 1)


@main.command()
@_server
@_repository
@_out
@_images
@_seed
@_duration
@_warmup
@_bound
@click.option("--start", type=click.FloatRange(0, min_open=True), default=8.0, show_default=True)
@click.option("--resolution", type=click.FloatRange(0.001), default=0.05, show_default=True)
@click.option("--max-probes", type=click.IntRange(1), default=12, show_default=True)
def knee(
    *,
    server: str | None,
    model_repository: Path,
    out: Path,
    images: int,
    seed: int,
    duration_s: float,
    warmup_s: float,
    bound_ms: float,
    start: float,
    resolution: float,
    max_probes: int,
) -> None:
    """Search for the highest rate at which the 99th percentile stays within the bound."""
    started = _now()
    wish = Wish(duration_s=duration_s, warmup_s=warmup_s, bound_ms=bound_ms, seed=seed)
    pool = prepare_images(Images(out, images, seed), model_repository)
    with _serving(server, model_repository, out) as address:
        subject = make_subject(address, pool, model_repository, Rules(), seed)
        found = asyncio.run(
            search(
                subject, wish, start, resolution=resolution, max_probes=max_probes, say=click.echo
            )
        )
    click.echo(knee_line(found))
    _write(out, subject, started, found=found)


@main.command()
@_repository
@_out
@_images
@_seed
@click.option("--cases", type=click.IntRange(1), default=SHORT.floor_cases, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=SHORT.floor_rounds, show_default=True)
def floor(
    *, model_repository: Path, out: Path, images: int, seed: int, cases: int, rounds: int
) -> None:
    """Measure the two networks alone; no server should be at work meanwhile."""
    pool = prepare_images(Images(out, images, seed), model_repository)
    click.echo(floor_lines(floor_in_a_process(pool, model_repository, cases, rounds)))


@main.command()
@click.option("--short", "form", flag_value="short", default="short", help="Under 10 minutes.")
@click.option("--full", "form", flag_value="full", help="About an hour.")
@_server
@_repository
@_out
@_seed
def suite(*, form: str, server: str | None, model_repository: Path, out: Path, seed: int) -> None:
    """Measure everything: floor, scenarios, knee. Exit code 1 where a scenario is INVALID."""
    started = _now()
    plan = FULL if form == "full" else SHORT
    pool = prepare_images(Images(out, plan.images, seed), model_repository)
    lowest = floor_in_a_process(pool, model_repository, plan.floor_cases, plan.floor_rounds)
    click.echo(floor_lines(lowest))
    with _serving(server, model_repository, out) as address:
        subject = make_subject(address, pool, model_repository, plan.rules, seed)
        rate = lowest.parallel_per_s.value
        runs, found = asyncio.run(run_suite(plan, subject, rate, click.echo))
    click.echo(knee_line(found))
    _write(out, subject, started, runs=runs, lowest=lowest, found=found)
    raise SystemExit(0 if all(run.verdict.valid for run in runs) else 1)


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


@contextlib.contextmanager
def _serving(server: str | None, model_repository: Path, out: Path) -> Iterator[str]:
    """Give the address of the server to measure; start one where none was named."""
    with contextlib.ExitStack() as stack:
        if server is None:
            out.mkdir(parents=True, exist_ok=True)
            settings = ServerSettings(
                model_repository=model_repository,
                profile=contract.CPU_PROFILE,
                log_file=out / "server.log",
            )
            server = stack.enter_context(EmbeddedTriton(settings)).grpc_address
        try:
            yield server
        except InferenceServerException as error:
            raise click.ClickException(
                f"{server} does not tell its statistics ({error.message()}); a running Triton with "
                "its statistics open was wanted: see its log, and that --server is its gRPC port"
            ) from error


def _write(
    out: Path,
    subject: Subject,
    started: str,
    *,
    runs: Sequence[Measured] = (),
    lowest: Floor | None = None,
    found: Knee[Measured] | None = None,
) -> None:
    result = document(
        subject, started=started, checkout=_CHECKOUT, runs=runs, floor=lowest, knee=found
    )
    probes = () if found is None else tuple(probe.measurement for probe in found.probes)
    path = write_result(out, result, [*runs, *probes])
    page = path.with_name("report.html")
    page.write_text(render_report(result), encoding="utf-8")
    click.echo(f"wrote {path} and {page.name}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_result(path)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
