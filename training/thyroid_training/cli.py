"""`thyroid-train`: phantoms, fitting both networks, and judging them on held-out patients."""

# torch and scikit-learn are imported by the commands that need them: `--help` answers at once, and
# `phantoms` works where only the server's packages are installed.
# ruff: noqa: PLC0415

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from thyroid_training.command_errors import PlainErrors
from thyroid_training.protocol import FOLDS
from thyroid_training.transunet_config import SIZES

_Command = TypeVar("_Command", bound=Callable[..., Any])

_DATA = click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the DDTI set: manifest.csv, images, masks.",
)
_FOLD = click.option(
    "--fold",
    default=0,
    show_default=True,
    type=click.IntRange(0, FOLDS - 1),
    help=f"Which of the {FOLDS} folds is held out; folds never part a patient's images.",
)
_SEED = click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Of weights, order, variation.",
)
_THREADS = click.option(
    "--threads", default=2, show_default=True, type=click.IntRange(1), help="CPU threads."
)


def _out(help_text: str) -> Callable[[_Command], _Command]:
    return click.option(
        "--out",
        required=True,
        type=click.Path(path_type=Path),
        help=help_text,
    )


@click.group(cls=PlainErrors)
@click.version_option(package_name="thyroid-triton")
def main() -> None:
    """Make phantoms, fit the networks, judge them."""


@main.command()
@_out("Folder to write into.")
@click.option("--count", default=10, show_default=True, type=click.IntRange(1))
@click.option("--no-nodule", default=2, show_default=True, type=click.IntRange(0))
@_SEED
def phantoms(*, out: Path, count: int, no_nodule: int, seed: int) -> None:
    """Write synthetic ultrasound frames in all accepted formats, with their true masks."""
    from thyroid_training.phantom_set import write_phantom_set

    written = write_phantom_set(out, count, seed, no_nodule)
    click.echo(f"wrote {len(written)} phantoms into {out}")


@main.command()
@_DATA
@_out("Folder of the run.")
@click.option("--size", default="compact", show_default=True, type=click.Choice(list(SIZES)))
@click.option("--epochs", default=80, show_default=True, type=click.IntRange(1))
@click.option(
    "--learning-rate",
    default=1e-3,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Peak of the one-cycle plan.",
)
@click.option(
    "--initial",
    "initial_folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a run to go on from, rather than from nothing.",
)
@click.option("--phantoms", "phantom_count", default=120, show_default=True, type=click.IntRange(0))
@_FOLD
@_SEED
@_THREADS
def segmentation(
    *,
    data: Path,
    out: Path,
    size: str,
    epochs: int,
    learning_rate: float,
    initial_folder: Path | None,
    phantom_count: int,
    fold: int,
    seed: int,
    threads: int,
) -> None:
    """Fit TransUNet on DDTI, less the held-out fold, and phantoms."""
    import torch

    from thyroid_training import recipes

    torch.set_num_threads(threads)
    recipes.run_segmentation(
        data,
        out,
        size=size,
        epochs=epochs,
        learning_rate=learning_rate,
        phantom_count=phantom_count,
        fold=fold,
        seed=seed,
        initial_folder=initial_folder,
    )


@main.command()
@_DATA
@_out("Folder of the run.")
@click.option(
    "--segmentation",
    "segmentation_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TransUNet's ONNX file, whose masks cut the regions.",
)
@click.option("--epochs", default=40, show_default=True, type=click.IntRange(1))
@_FOLD
@_SEED
@_THREADS
def classification(
    *,
    data: Path,
    out: Path,
    segmentation_file: Path,
    epochs: int,
    fold: int,
    seed: int,
    threads: int,
) -> None:
    """Fit ResNet-18 on regions cut from DDTI, less the held-out fold."""
    import torch

    from thyroid_training import recipes

    torch.set_num_threads(threads)
    recipes.run_classification(data, out, segmentation_file, epochs=epochs, fold=fold, seed=seed)


@main.command()
@_DATA
@click.option(
    "--model-repository",
    default=Path("model_repository"),
    show_default=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Whose networks are judged.",
)
@_out("JSON file to write.")
@_FOLD
@_THREADS
def evaluate(*, data: Path, model_repository: Path, out: Path, fold: int, threads: int) -> None:
    """Judge the repository's networks on the held-out fold and on unseen phantoms."""
    import torch

    from thyroid_training import recipes

    torch.set_num_threads(threads)
    figures = recipes.run_evaluation(data, model_repository, fold=fold)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=2) + "\n")
    click.echo(json.dumps(figures, indent=2))
