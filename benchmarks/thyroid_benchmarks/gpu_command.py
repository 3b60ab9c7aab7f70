"""`python benchmarks/gpu/measure.py`: one profile's table, with a GPU or without."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from tritonclient.utils import InferenceServerException

from thyroid_benchmarks.cli_parts import CHECKOUT, FOLDER, Setting, now
from thyroid_benchmarks.console import floor_lines, knee_line
from thyroid_benchmarks.gpu_ceiling import Ceiling, measure_ceiling
from thyroid_benchmarks.gpu_run import FULL, SHORT, GpuPlan, GpuRun, run_plan
from thyroid_benchmarks.gpu_table import render_table
from thyroid_benchmarks.gpu_watch import GpuWatch, NoGpuFigures, find_watch
from thyroid_benchmarks.network_flop import flop_per_case
from thyroid_benchmarks.preparation import floor_in_a_process
from thyroid_benchmarks.results import document, write_result
from thyroid_pipeline import contract
from thyroid_pipeline.plan_machine import read_machine
from thyroid_pipeline.plan_manifest import (
    network_path,
    plan_path,
    read_record,
    record_path,
    record_text,
)
from thyroid_server.embedded import EmbeddedTriton
from thyroid_server.errors import ServerError
from thyroid_server.served_plans import check_served_plans, find_planned
from thyroid_server.settings import ServerSettings

TABLE_FILE = "table.md"
_LOOPBACK = ("127.0.0.1", "localhost")


@click.command(context_settings={"max_content_width": 100, "show_default": True})
@click.option(
    "--profile",
    required=True,
    type=click.Choice([contract.CPU_PROFILE, contract.RTX_PROFILE, contract.DEFAULT_PROFILE]),
    help="What is served. The embedded server has no TensorRT, so that `default` takes --server.",
)
@click.option(
    "--short", "form", flag_value="short", help="Less than a minute of load: to see it run."
)
@click.option(
    "--full", "form", flag_value="full", default="full", help="Seven or eight minutes of load."
)
@click.option("--bound-ms", type=click.FloatRange(1), default=50.0, help="Of p99 at the knee.")
@click.option(
    "--server",
    help="host:port of a running server's gRPC port, which serves --model-repository under "
    "--profile.  [default: start one, on free ports]",
    show_default=False,
)
@click.option(
    "--metrics",
    help=f"host:port of its metrics.  [default: {contract.METRICS_PORT} of the same host]",
    show_default=False,
)
@click.option(
    "--model-repository", type=FOLDER, default=CHECKOUT / "model_repository", show_default=False
)
@click.option("--out", type=FOLDER, default=Path("runs/gpu"))
@click.option("--seed", type=click.IntRange(0), default=1)
def main(
    *,
    profile: str,
    form: str,
    bound_ms: float,
    server: str | None,
    metrics: str | None,
    model_repository: Path,
    out: Path,
    seed: int,
) -> None:
    """Measure a profile; write result.json and table.md. Exit code 1 where a run is INVALID."""
    plan = SHORT if form == "short" else FULL
    plan = replace(plan, wish=replace(plan.wish, bound_ms=bound_ms, seed=seed))
    setting = Setting(model_repository, out, seed, plan.images, server)
    try:
        runs = measure_profile(setting, profile, plan, metrics)
    except ServerError as error:
        raise click.ClickException(str(error)) from error
    raise SystemExit(0 if all(run.measured.verdict.valid for run in runs) else 1)


def measure_profile(
    setting: Setting, profile: str, plan: GpuPlan, metrics: str | None = None
) -> list[GpuRun]:
    """Measure a profile and write what was found.

    Args:
        setting: What is measured, with what, and where the results go.
        profile: What is served.
        plan: How much is measured.
        metrics: host:port of a running server's metrics; None for the usual port.

    Returns:
        The runs.

    Raises:
        ServerError: The server does not start.
    """
    started = now()
    gpu = _describe_gpu(setting, profile)
    flop = {
        model.name: flop_per_case(network_path(setting.model_repository, model.name))
        for model in contract.NETWORKS
    }
    pool = setting.pool()
    ceiling = measure_ceiling()
    click.echo(f"ceiling  {ceiling.absence or ceiling.flop_per_s}")
    lowest = None
    if profile == contract.CPU_PROFILE:
        lowest = floor_in_a_process(
            pool, setting.model_repository, plan.floor_cases, plan.floor_rounds
        )
        click.echo(floor_lines(lowest))
    with _serving(setting, profile, metrics) as (address, metrics_address):
        subject = setting.subject(address, pool, plan.rules, metrics_address)
        watch, absence = _find_watch(address, metrics_address)
        click.echo(f"GPU      {absence or f'watched by {watch and watch.source}'}")
        runs, found = asyncio.run(run_plan(plan, subject, watch, click.echo))
    click.echo(knee_line(found))
    part = {
        "profile": profile,
        **gpu,
        "utilisation": {"source": watch and watch.source, "absence": absence},
        "runs": [
            {"utilisation": None if run.utilisation is None else asdict(run.utilisation)}
            for run in runs
        ],
        "ceiling": ceiling.as_dict(),
        "work": _work(flop, runs, ceiling),
    }
    measured = [run.measured for run in runs]
    result = document(
        subject,
        started=started,
        checkout=CHECKOUT,
        runs=measured,
        floor=lowest,
        knee=found,
        parts={"gpu": part},
    )
    probes = [probe.measurement for probe in found.probes]
    path = write_result(setting.out, result, [*measured, *probes])
    page = path.with_name(TABLE_FILE)
    page.write_text(render_table(result), encoding="utf-8")
    click.echo(f"wrote {path} and {page.name}")
    return runs


@contextlib.contextmanager
def _serving(setting: Setting, profile: str, metrics: str | None) -> Iterator[tuple[str, str]]:
    """Give the addresses of gRPC and metrics; start a server where none was named."""
    if setting.server is not None:
        host = setting.server.rpartition(":")[0]
        try:
            yield setting.server, metrics or f"{host}:{contract.METRICS_PORT}"
        except InferenceServerException as error:
            raise click.ClickException(
                f"{setting.server} does not tell its statistics ({error.message()}); a running "
                "Triton with its statistics open was wanted: see its log, and that --server is "
                "its gRPC port"
            ) from error
        return
    setting.out.mkdir(parents=True, exist_ok=True)
    settings = ServerSettings(
        model_repository=setting.model_repository,
        profile=None if profile == contract.DEFAULT_PROFILE else profile,
        log_file=setting.out / "server.log",
    )
    with EmbeddedTriton(settings) as server:
        yield server.grpc_address, server.metrics_address


def _find_watch(address: str, metrics_address: str) -> tuple[GpuWatch | None, str | None]:
    """Who tells how busy the GPU is, or why nobody does."""
    try:
        is_local = address.rpartition(":")[0] in _LOOPBACK
        return find_watch(metrics_address, is_local=is_local), None
    except NoGpuFigures as error:
        return None, str(error)


def _describe_gpu(setting: Setting, profile: str) -> dict[str, Any]:
    """The GPUs of this machine, their driver's CUDA, the runtimes, and the plans served.

    Raises:
        PreflightError: This machine shall serve, and cannot serve the profile's plans.
    """
    repository = setting.model_repository
    named = None if profile == contract.DEFAULT_PROFILE else profile
    machine = read_machine()
    if setting.server is None:
        check_served_plans(repository, named, machine)
    files = [
        record_path(plan_path(repository, model.name, runtime))
        for runtime, models in find_planned(repository, named).items()
        for model in models
    ]
    return {
        "devices": [asdict(gpu) for gpu in machine.gpus],
        "cuda": machine.cuda,
        "runtimes": {runtime.label: version for runtime, version in machine.runtimes.items()},
        # A server elsewhere may have plans that are not here.
        "plans": [json.loads(record_text(read_record(file))) for file in files if file.is_file()],
    }


def _work(flop: dict[str, float], runs: Sequence[GpuRun], ceiling: Ceiling) -> dict[str, Any]:
    """The arithmetic of a case, and at the highest rate; the shares of the ceiling."""
    rate_per_s = max(run.rate_per_s for run in runs)
    achieved = rate_per_s * sum(flop.values())
    return {
        "flop_per_case": flop,
        "rate_per_s": rate_per_s,
        "flop_per_s": achieved,
        "shares": ceiling.shares(achieved),
    }
