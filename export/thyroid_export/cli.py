"""`thyroid-export`: from weights to a model repository that Triton serves."""

# torch and onnx are imported by the commands that need them: `--help` answers at once.
# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from thyroid_export.engine_cli import engine
from thyroid_training.command_errors import PlainErrors

if TYPE_CHECKING:
    from thyroid_export.parity import Parity

_REPOSITORY = click.option(
    "--model-repository",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("model_repository"),
    show_default=True,
    help="The model repository.",
)


@click.group(cls=PlainErrors)
@click.version_option(package_name="thyroid-triton")
def main() -> None:
    """Compile the networks and write the model repository."""


main.add_command(engine)


@main.command()
@_REPOSITORY
@click.option("--check", is_flag=True, help="Write nothing; exit 1 with a diff where files differ.")
def repository(*, model_repository: Path, check: bool) -> None:
    """Write every config and warm-up file from the contract."""
    from thyroid_export.repository import find_drift, write_repository

    if not check:
        written = write_repository(model_repository)
        click.echo(f"wrote {len(written)} files into {model_repository}")
        return
    drift = find_drift(model_repository)
    if drift:
        click.echo(drift, nl=False)
        raise click.ClickException(
            f"{model_repository} differs from the contract: run `thyroid-export repository`"
        )
    click.echo(f"{model_repository} agrees with the contract")


@main.command()
@_REPOSITORY
@click.option(
    "--run",
    "run_folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a `thyroid-train` run, with weights.pt and run.json.",
)
def onnx(*, model_repository: Path, run_folder: Path) -> None:
    """Export a trained network to ONNX, compare it with PyTorch, and record it in the manifest."""
    from thyroid_export.export_onnx import export_run

    artefact = export_run(run_folder, model_repository)
    click.echo(f"wrote {artefact.file}: {artefact.parameter_count:,} parameters")
    _print_parity(artefact.parity)


@main.command()
@_REPOSITORY
@click.option(
    "--run",
    "run_folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a forest's run, with table.npz and run.json.",
)
def forest(*, model_repository: Path, run_folder: Path) -> None:
    """Export the Random Forest to ONNX, compare it with scikit-learn, and record it."""
    from thyroid_export.export_forest import export_forest_run

    artefact = export_forest_run(run_folder, model_repository)
    click.echo(f"wrote {artefact.file}: {artefact.parameter_count:,} nodes of trees")
    _print_parity(artefact.parity)


@main.command()
@_REPOSITORY
@click.option("--count", default=8, show_default=True, type=click.IntRange(2), help="Phantoms.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the first phantom."
)
def parity(*, model_repository: Path, count: int, seed: int) -> None:
    """Compare the repository's ONNX files with PyTorch, output by output."""
    from thyroid_export.export_onnx import check_repository

    _print_parity(check_repository(model_repository, count, seed))


def _print_parity(figures: Iterable[Parity]) -> None:
    for parity in figures:
        click.echo(
            f"{parity.output}: largest difference {parity.largest_difference:.3g} (at most "
            f"{parity.tolerance:.3g}), mean {parity.mean_difference:.3g}, over "
            f"{parity.compared:,} elements"
        )
