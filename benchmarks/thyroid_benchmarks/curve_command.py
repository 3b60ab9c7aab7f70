"""The command that adds times to the curve of accuracy against time, and draws it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click

from thyroid_benchmarks.cli_parts import CHECKOUT
from thyroid_benchmarks.curve_times import (
    export_variants,
    open_variants,
    time_in_turns,
    times_document,
)
from thyroid_benchmarks.machine import (
    describe_commit,
    describe_machine,
    describe_versions,
    others_share,
)
from thyroid_server.cores import usable_cores
from thyroid_training.curve_tables import accuracy_curve_table
from thyroid_training.curve_variants import describe_variant, variants
from thyroid_training.plots_curve import draw_accuracy_curve

_FIGURES = CHECKOUT / "docs" / "figures" / "accuracy_curve.json"
_SEED = 0


@click.command()
@click.argument(
    "figures",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=_FIGURES,
)
@click.option("--rounds", type=click.IntRange(1), default=60, show_default=True)
@click.option(
    "--also",
    multiple=True,
    type=click.Choice(list(variants())),
    default=("layers_0", "layers_1", "decoder_narrow", "decoder_wide"),
    show_default=True,
    help="A TransUNet to time although it was not fitted; may be repeated.",
)
def main(*, figures: Path, rounds: int, also: tuple[str, ...]) -> None:
    """Time the networks of FIGURES, write the times into it, draw the picture beside it.

    FIGURES is what `thyroid-train curve` wrote; docs/figures/accuracy_curve.json where not given.
    Let the machine be quiet: the share that others take of it is written down too.
    """
    document = json.loads(figures.read_text(encoding="utf-8"))
    fitted = {row["name"] for row in document["segmentation"]}
    document["unfitted"] = [describe_variant(name) for name in also if name not in fitted]
    thread_counts = sorted({1, usable_cores()})
    with tempfile.TemporaryDirectory() as folder:
        files = export_variants(document, Path(folder))
        busy = others_share()
        runs = {
            (name, count): run
            for count in thread_counts
            for name, run in open_variants(files, count, _SEED).items()
        }
        times = time_in_turns(runs, rounds, seed=_SEED)
    document["times"] = {
        "machine": describe_machine(),
        "versions": describe_versions(),
        **describe_commit(CHECKOUT),
        "seed": _SEED,
        "others_share_before": busy,
        **times_document(times, thread_counts, rounds),
    }
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    figures.write_text(text, encoding="utf-8")
    draw_accuracy_curve(document, figures.with_suffix(".png"))
    click.echo(accuracy_curve_table(document), nl=False)
