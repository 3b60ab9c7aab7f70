"""`thyroid-export`: from weights to a model repository that Triton serves."""

# torch and onnx are imported by the commands that need them: `--help` answers at once.
# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from thyroid_export.engine_cli import engine
from thyroid_pipeline import contract
from thyroid_pipeline.plan_manifest import network_path
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
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a `thyroid-train` run, with weights.pt and run.json; fp32 only.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "bf16", "int8", "int8-symmetric"]),
    default="fp32",
    show_default=True,
    help="fp32 is made of a run; the others are made of the repository's fp32 files: fp16, bf16 "
    "and int8-symmetric for plans, int8 for a CPU.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for all but fp32, laid out as the repository: give it to `thyroid-export engine`, "
    "or with int8 in a copy of the repository to `thyroid-serve`.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Choice([model.name for model in contract.NETWORKS]),
    help="Write this network alone, in another precision than fp32; may be given several times.  "
    "[default: all; resnet18 in int8 and int8-symmetric, in which transunet is refused]",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of images on which the file must answer as fp32 does, beside phantoms.",
)
@click.option(
    "--data-limit",
    type=click.IntRange(1),
    help="Take at most so many of its images, spread evenly.  [default: all]",
)
def onnx(
    *,
    model_repository: Path,
    run_folder: Path | None,
    precision: str,
    out: Path | None,
    models: tuple[str, ...],
    data: Path | None,
    data_limit: int | None,
) -> None:
    """Export a trained network to ONNX, or the repository's networks to another precision.

    A run's network is compared with PyTorch, written into the repository and recorded in its
    manifest. In another precision than fp32 a network's masks and malignancies are compared with
    those in fp32, and the file is written elsewhere, with the figures beside it.
    """
    if precision == "fp32":
        low_only = {"--out": out, "--model": models, "--data": data, "--data-limit": data_limit}
        _refuse(low_only, "--precision fp32, which goes from a run into the repository")
        if run_folder is None:
            raise click.UsageError("--run is missing: the folder of a `thyroid-train` run")
        from thyroid_export.export_onnx import export_run

        artefact = export_run(run_folder, model_repository)
        click.echo(f"wrote {artefact.file}: {artefact.parameter_count:,} parameters")
        _print_parity(artefact.parity)
        return
    _refuse(
        {"--run": run_folder},
        f"--precision {precision}, which is made of the repository's fp32 files",
    )
    if out is None:
        raise click.UsageError(
            f"--out is missing: --precision {precision} is not written into the repository"
        )
    from thyroid_export.export_mixed import export_mixed
    from thyroid_export.low_precision import LOW_PRECISIONS
    from thyroid_export.parity_inputs import folder_frames

    low = LOW_PRECISIONS[precision]
    frames = None if data is None else folder_frames(data, data_limit)
    for model in contract.NETWORKS:
        if model.name not in (models or [each.name for each in low.networks]):
            continue
        figures = export_mixed(model_repository, out, model, low, data=frames)
        click.echo(f"wrote {network_path(out, model.name)}: {precision}")
        for figure in figures:
            click.echo(f"  {figure.describe()}")


def _refuse(options: Mapping[str, object], where: str) -> None:
    for option, value in options.items():
        if value:
            raise click.UsageError(f"{option} has no meaning with {where}: leave it out")


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
