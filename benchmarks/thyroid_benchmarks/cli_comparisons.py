"""The commands `peers` and `cross-check`, and what the suite takes of them."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from thyroid_benchmarks.cli_parts import FOLDER, Pace, Setting, now, pace_options, setting_options
from thyroid_benchmarks.console import cross_check_lines, peer_lines
from thyroid_benchmarks.cross_check import CrossCheckPlan, Point, sound_subject
from thyroid_benchmarks.cross_check import as_dict as points_dict
from thyroid_benchmarks.cross_check import cross_check as check_points
from thyroid_benchmarks.measure import Measured, Subject
from thyroid_benchmarks.peer_comparison import compare_peers
from thyroid_benchmarks.peer_contestants import make_contestants
from thyroid_benchmarks.peer_environment import PeerUnavailableError
from thyroid_benchmarks.peer_figures import PeerPlan
from thyroid_benchmarks.peer_list import LAYOUTS, NAMES, OURS, TUTORIAL, Layout
from thyroid_benchmarks.perf_analyzer_fetch import fetch_perf_analyzer
from thyroid_benchmarks.perf_analyzer_run import PerfFigures, run_perf_analyzer
from thyroid_benchmarks.pool import order
from thyroid_benchmarks.preparation import cropper_parameters
from thyroid_benchmarks.run_off import run_off, run_off_lines
from thyroid_benchmarks.scenarios import Scenario, Wish
from thyroid_benchmarks.suite import TUTORIAL_PLAN
from thyroid_client._address import parse_address

_NOWHERE = "127.0.0.1:0"  # every contestant has an address of its own
_CACHE = click.option(
    "--cache",
    type=FOLDER,
    default=Path("runs/cache"),
    show_default=True,
    help="Where what is fetched is kept.",
)
_ROUNDS = click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
RUN_OFF_ROUNDS = click.option(
    "--run-off-rounds",
    type=click.IntRange(1),
    default=PeerPlan.run_off_rounds,
    show_default=True,
    help="How often ours and the best of the others are measured after that.",
)
_CLIENTS = click.option(
    "--clients", type=click.IntRange(1), multiple=True, default=(1, 4, 8), show_default=True
)


@click.command()
@setting_options(server=False)
@pace_options(duration_s=12, warmup_s=2)
@_CACHE
@_ROUNDS
@RUN_OFF_ROUNDS
@_CLIENTS
@click.option(
    "--peer",
    "names",
    type=click.Choice(NAMES),
    multiple=True,
    default=NAMES,
    help="Which; may be given several times.  [default: all]",
)
@click.option(
    "--layout",
    "layouts",
    type=click.Choice(LAYOUTS),
    multiple=True,
    default=LAYOUTS,
    help="How the cores are shared out: an image on each, all for one, or a batch on each where "
    "the peer gathers batches; may be given several times.  [default: all]",
)
def peers(
    *,
    setting: Setting,
    pace: Pace,
    cache: Path,
    rounds: int,
    run_off_rounds: int,
    clients: tuple[int, ...],
    names: tuple[str, ...],
    layouts: tuple[Layout, ...],
) -> None:
    """Compare with what one would use instead, side by side, in turns.

    The same weights and the same pipeline, served by FastAPI, LitServe, BentoML, Ray Serve, and a
    Triton ensemble as tutorials build it. Their packages are installed into environments of their
    own under --cache. Exit code 1 where one could not be measured, or a run is INVALID.
    """
    started = now()
    wish = Wish(**asdict(pace), seed=setting.seed)
    plan = PeerPlan(clients, rounds, run_off_rounds, wish, layouts)
    subject = setting.subject(_NOWHERE, setting.pool())
    result, runs = measured_peers(plan, subject, setting, cache, names)
    setting.write(subject, started, beside=runs, parts={"peers": result})
    faulty = any(one["fault"] for one in result["contestants"]) or any(
        one["faults"] for one in result["best"]
    )
    invalid = result["invalid"] or any(one["reasons"] for one in result["best"])
    raise SystemExit(1 if faulty or invalid else 0)


@click.command(name="cross-check")
@setting_options()
@pace_options(duration_s=18, warmup_s=2)
@_CACHE
@_ROUNDS
@_CLIENTS
@click.option(
    "--rate",
    "rates",
    type=click.FloatRange(0, min_open=True),
    multiple=True,
    default=(8.0,),
    show_default=True,
    help="Of Poisson arrivals; may be given several times.",
)
def cross_check(
    *,
    setting: Setting,
    pace: Pace,
    cache: Path,
    rounds: int,
    clients: tuple[int, ...],
    rates: tuple[float, ...],
) -> None:
    """Measure the same points by NVIDIA's perf_analyzer, in turns with our own generator.

    It is fetched into --cache. Exit code 1 where it could not be had, or the two do not agree.
    """
    started = now()
    wish = Wish(**asdict(pace), seed=setting.seed)
    plan = CrossCheckPlan(clients, rates, rounds, wish)
    pool = setting.pool()
    with setting.serving() as served:
        subject = setting.subject(served.grpc, pool, metrics=served.metrics)
        result, runs = measured_cross_check(plan, subject, cache)
    setting.write(subject, started, beside=runs, parts={"cross_check": result})
    figures = [figure for point in result["points"] for figure in point["figures"].values()]
    agreed = figures and all(figure["agrees"] for figure in figures)
    raise SystemExit(0 if agreed else 1)


def measured_peers(
    plan: PeerPlan,
    subject: Subject,
    setting: Setting,
    cache: Path,
    names: tuple[str, ...] = NAMES,
) -> tuple[dict[str, Any], list[Measured]]:
    """Compare with the peers; return the part of the result and the runs behind it."""
    contestants, unavailable = make_contestants(
        names,
        plan.layouts,
        cache=cache,
        model_repository=setting.model_repository,
        parameters=cropper_parameters(setting.model_repository),
        say=click.echo,
    )
    own = replace(subject, rules=plan.rules)
    comparison = asyncio.run(
        compare_peers(contestants, own, plan, click.echo, unavailable=unavailable)
    )
    rivals = [one.title for one in contestants if one.name not in {OURS, TUTORIAL}]
    best = asyncio.run(run_off(comparison, rivals, own, click.echo))
    result = {**comparison.as_dict(), "best": [one.as_dict() for one in best]}
    click.echo("\n".join([*peer_lines(result), *run_off_lines(best, "peer")]))
    return result, [
        *(run.measured for run in comparison.runs),
        *(run for one in best for run in one.runs),
    ]


def measured_tutorial(subject: Subject, setting: Setting) -> tuple[dict[str, Any], list[Measured]]:
    """Compare with the ensemble built as tutorials do alone, which needs no other packages.

    Returns:
        The part `peers` of the result, and the runs behind it.
    """
    # Nothing is fetched into the folder: only peers have environments.
    return measured_peers(TUTORIAL_PLAN, subject, setting, setting.out, (TUTORIAL,))


def measured_cross_check(
    plan: CrossCheckPlan, subject: Subject, cache: Path
) -> tuple[dict[str, Any], list[Measured]]:
    """Cross-check; return the part of the result and our runs. Without perf_analyzer, say why."""
    points: list[Point] = []
    fault = None
    try:
        program = fetch_perf_analyzer(cache)
        address = parse_address(subject.address, None).target

        def analyze(scenario: Scenario, own: Subject) -> PerfFigures:
            # In the order in which our generator sends them.
            images = [own.pool.contents[index] for index in order(own.pool, own.seed)]
            return run_perf_analyzer(program, scenario, address, images)

        points = asyncio.run(check_points(plan, sound_subject(subject), analyze, click.echo))
    except (PeerUnavailableError, ValueError) as error:
        fault = str(error)
    result = points_dict(points, fault)
    click.echo(cross_check_lines(result))
    return result, [run for point in points for run in point.ours]
