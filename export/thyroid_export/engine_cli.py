"""`thyroid-export engine`: the networks of the repository to plans for the GPU that serves."""

# onnx and TensorRT are imported when the command runs: `--help` answers at once.
# ruff: noqa: PLC0415

from __future__ import annotations

import time
from pathlib import Path

import click

from thyroid_pipeline import contract
from thyroid_pipeline.plan_machine import read_machine
from thyroid_pipeline.plan_manifest import (
    BatchProfile,
    HardwareCompatibility,
    PlanRecord,
    Runtime,
    plan_path,
)

_NETWORKS = tuple(model.name for model in contract.NETWORKS)
_MIB = 1 << 20


@click.command()
@click.option(
    "--model-repository",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("model_repository"),
    show_default=True,
    help="The model repository.",
)
@click.option(
    "--runtime",
    "runtime_name",
    required=True,
    type=click.Choice([runtime.value for runtime in Runtime]),
    help="tensorrt builds on the GPU that will serve; rtx builds anywhere, for RTX GPUs.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Choice(_NETWORKS),
    help="Build this network alone; may be given several times.  [default: all]",
)
@click.option(
    "--min-batch", default=1, show_default=True, type=click.IntRange(1), help="Smallest batch."
)
@click.option(
    "--opt-batch",
    default=contract.MAX_BATCH_SIZE // 2,
    show_default=True,
    type=click.IntRange(1),
    help="Batch size that the plan is tuned for.",
)
@click.option(
    "--max-batch",
    default=contract.MAX_BATCH_SIZE,
    show_default=True,
    type=click.IntRange(1),
    help="Largest batch; the served configs want the default.",
)
@click.option(
    "--workspace-mib",
    type=click.IntRange(1),
    help="The most GPU memory that a layer may take for itself.",
)
@click.option(
    "--timing-cache",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that shortens the next build on this GPU; tensorrt only.",
)
@click.option(
    "--version-compatible",
    is_flag=True,
    help="Newer versions of TensorRT shall read the plan, too; tensorrt only.",
)
@click.option(
    "--hardware-compatible",
    type=click.Choice([level.value for level in HardwareCompatibility if level.value != "none"]),
    help="Other GPUs shall run the plan, too; tensorrt only.",
)
@click.option(
    "--compute-capability",
    "compute_capabilities",
    multiple=True,
    help="Compute capability to build for, such as 8.9; may be given several times; rtx only.  "
    "[default: 8.0, 8.6, 8.9, 12.0 and later]",
)
@click.option(
    "--tf32",
    is_flag=True,
    help="Products of FP32 may round what they multiply to TF32, with 10 bits of mantissa: much "
    "faster from compute capability 8.0 on.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write into this folder instead of the repository, laid out as it is.",
)
def engine(
    *,
    model_repository: Path,
    runtime_name: str,
    models: tuple[str, ...],
    min_batch: int,
    opt_batch: int,
    max_batch: int,
    workspace_mib: int | None,
    timing_cache: Path | None,
    version_compatible: bool,
    hardware_compatible: str | None,
    compute_capabilities: tuple[str, ...],
    tf32: bool,
    out: Path | None,
) -> None:
    """Build plans of the networks with TensorRT or TensorRT for RTX, and record them."""
    from thyroid_export.engine_builder import BuildOptions
    from thyroid_export.engine_manifest import build_engine

    runtime = Runtime(runtime_name)
    if not min_batch <= opt_batch <= max_batch:
        raise click.UsageError(
            f"--min-batch {min_batch}, --opt-batch {opt_batch} and --max-batch {max_batch} must "
            "not fall from one to the next: give all three"
        )
    tensorrt_only = {
        "--timing-cache": timing_cache,
        "--version-compatible": version_compatible,
        "--hardware-compatible": hardware_compatible,
    }
    rtx_only = {"--compute-capability": compute_capabilities}
    foreign, other = (
        (rtx_only, Runtime.RTX)
        if runtime is Runtime.TENSORRT
        else (tensorrt_only, Runtime.TENSORRT)
    )
    for option, value in foreign.items():
        if value:
            raise click.UsageError(
                f"{option} has no meaning for {runtime.label}: leave it out, or build by --runtime "
                f"{other.value}"
            )
    options = BuildOptions(
        batch=BatchProfile(min_batch, opt_batch, max_batch),
        workspace_mib=workspace_mib,
        version_compatible=version_compatible,
        hardware_compatibility=HardwareCompatibility(hardware_compatible or "none"),
        compute_capabilities=compute_capabilities,
        tf32=tf32,
    )
    machine = read_machine()
    for model in models or _NETWORKS:
        start_s = time.monotonic()
        record = build_engine(
            model_repository,
            model,
            runtime,
            options,
            machine,
            out=out,
            timing_cache=timing_cache,
            warn=lambda warning: click.echo(warning, err=True),
        )
        plan = plan_path(out or model_repository, model, runtime)
        click.echo(f"wrote {plan}: {_describe(record)}, in {time.monotonic() - start_s:.1f} s")


def _describe(record: PlanRecord) -> str:
    return (
        f"{record.plan_bytes / _MIB:.1f} MiB, {record.runtime.label} {record.runtime_version}, "
        f"{record.precision}, batch {record.batch.min} to {record.batch.max}"
    )
