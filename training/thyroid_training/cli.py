"""`thyroid-train`: phantoms, fitting the networks, judging them, and what is served of them."""

# torch and scikit-learn are imported by the commands that need them: `--help` answers at once, and
# `phantoms` works where only the server's packages are installed.
# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from thyroid_training.command_errors import PlainErrors
from thyroid_training.protocol import FOLDS

if TYPE_CHECKING:
    from thyroid_training.fold_fits import FoldFits

_Command = TypeVar("_Command", bound=Callable[..., Any])

# Where `cross-validate` leaves its report and `final` what is served, within the runs' folder.
REPORT_FOLDER = "report"
SERVED_FOLDER = "served"

_FOLD = click.option(
    "--fold",
    type=click.IntRange(0, FOLDS - 1),
    help=f"Which of the {FOLDS} folds is held out; without it nothing is, as for what is served.",
)
_SEED = click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Of weights, order, variation.",
)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _fits(command: _Command) -> _Command:
    """Give a command the options from which all fits are made."""
    for option in (
        click.option(
            "--resnet18-weights",
            type=_FILE,
            help="torchvision's ImageNet weights of ResNet-18 (.pth) to begin with.",
        ),
        click.option(
            "--transunet-weights",
            type=_FILE,
            help="ImageNet weights to begin with: R50+ViT-B/16 (.npz) for the paper size; the "
            "compact size has EfficientNet-Lite2's installed.",
        ),
    ):
        command = option(command)
    return _runs(command)


def _runs(command: _Command) -> _Command:
    """Give a command the options that say what is fitted, how, and where it is kept."""
    for option in (
        click.option(
            "--threads", type=click.IntRange(1), help="CPU threads; all cores where not given."
        ),
        click.option(
            "--recipe",
            type=_FILE,
            default=Path("training/recipes/compact.toml"),
            show_default=True,
            help="How everything is fitted.",
        ),
        click.option(
            "--out",
            required=True,
            type=click.Path(path_type=Path),
            help="Folder of all runs. What is fitted there is not fitted again, and what was "
            "interrupted goes on.",
        ),
        click.option(
            "--data",
            required=True,
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Folder of the sets: ddti and busi, each with manifest.csv, images, masks.",
        ),
    ):
        command = option(command)
    return command


def _open(
    *,
    data: Path,
    out: Path,
    recipe: Path,
    threads: int | None,
    transunet_weights: Path | None = None,
    resnet18_weights: Path | None = None,
) -> FoldFits:
    import torch

    from thyroid_training.fold_fits import FoldFits, read_sets
    from thyroid_training.recipe import read_recipe
    from thyroid_training.stages import StartingWeights

    if threads is not None:
        torch.set_num_threads(threads)
    weights = StartingWeights(transunet_weights, resnet18_weights)
    return FoldFits(read_recipe(recipe), read_sets(data), out, weights)


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
@_fits
@_FOLD
def segmentation(*, fold: int | None, **options: Any) -> None:
    """Fit TransUNet on all folds but one."""
    _open(**options).segmentation(fold)


@main.command()
@_fits
@_FOLD
@_SEED
def classification(*, fold: int | None, seed: int, **options: Any) -> None:
    """Fit ResNet-18 on regions that TransUNet cuts from all folds but one."""
    fits = _open(**options)
    fits.classification(fold, fits.segmentation(fold), seed)


@main.command()
@_fits
def cross_validate(*, out: Path, **options: Any) -> None:
    """Fit what is missing of every fold, and judge each on patients that it never saw."""
    from thyroid_training.cross_validate import cross_validate as judge_all
    from thyroid_training.cross_validation_report import TABLES_FILE, write_report

    results = judge_all(_open(out=out, **options))
    write_report(results, out / REPORT_FOLDER)
    click.echo((out / REPORT_FOLDER / TABLES_FILE).read_text(encoding="utf-8"), nl=False)
    click.echo(f"wrote the report into {out / REPORT_FOLDER}")


@main.command()
@_runs
@click.option(
    "--variant",
    "variants",
    multiple=True,
    help="TransUNet to fit, such as side_192, all of them in curve_variants.py; repeatable.",
)
@click.option(
    "--fold",
    "folds",
    multiple=True,
    type=click.IntRange(0, FOLDS - 1),
    help="Which is held out while those are fitted; repeatable.",
)
@click.option(
    "--stages",
    type=_FILE,
    default=Path("model_repository/resnet18/1/model.onnx"),
    show_default=True,
    help="ResNet-18 whose stages are judged at several sides of the region.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("docs/figures/cross_validation.json"),
    show_default=True,
    help="Of `cross-validate`, for the shipped TransUNet where it is not fitted here.",
)
def curve(
    *,
    out: Path,
    variants: tuple[str, ...],
    folds: tuple[int, ...],
    stages: Path,
    report: Path,
    **options: Any,
) -> None:
    """Judge networks of other sides and widths by the shipped recipe.

    Fits what is named and missing, then judges all that lies in the folder.
    """
    from thyroid_training.curve_accuracy import write_accuracies
    from thyroid_training.curve_variants import fit_variant

    fits = _open(out=out, **options)
    for variant in variants:
        for fold in folds:
            fit_variant(fits, variant, fold, out)
    click.echo(f"wrote {write_accuracies(fits, out, stages, report)}")


@main.command()
@_fits
def final(*, out: Path, **options: Any) -> None:
    """Fit what is served on everything, calibrated as the cross-validation found."""
    from thyroid_training.final import fit_served

    fits = _open(out=out, **options)
    for folder in fit_served(fits, out / REPORT_FOLDER, out / SERVED_FOLDER):
        click.echo(f"wrote {folder}")
