"""The command that tries INT8 on the networks of a model repository and writes what came of it."""

from __future__ import annotations

import json
import re
import tempfile
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from thyroid_benchmarks.cli_parts import CHECKOUT
from thyroid_benchmarks.int8_images import TrialImages, gather_images
from thyroid_benchmarks.int8_run import THREADS, try_network
from thyroid_benchmarks.int8_settings import SETTINGS
from thyroid_benchmarks.int8_table import int8_table
from thyroid_benchmarks.machine import (
    describe_commit,
    describe_machine,
    describe_versions,
    others_share,
)
from thyroid_benchmarks.references import weights_digest
from thyroid_export.gate import INT8_GATE
from thyroid_export.int8_ranges import RANGE_PHANTOMS

SCHEMA = 2
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
# What makes products of INT8 fast, as Linux names it: on x86-64, and on 64-bit ARM.
_INSTRUCTIONS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--model-repository", type=_FOLDER, default=Path("model_repository"), show_default=True
)
@click.option(
    "--data", type=_FOLDER, help="Folder with the set `ddti`, to judge by beside phantoms."
)
@click.option(
    "--data-limit",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Judge by at most so many of its images, spread evenly.",
)
@click.option(
    "--calibration",
    type=_FOLDER,
    help="Folder of images to find ranges over, beside phantoms.",
)
@click.option(
    "--calibration-limit",
    type=click.IntRange(1),
    default=RANGE_PHANTOMS,
    show_default=True,
    help="Find ranges over so many phantoms, and at most so many images.",
)
@click.option("--phantoms", type=click.IntRange(3), default=16, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=60, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(
    *,
    out: Path,
    model_repository: Path,
    data: Path | None,
    data_limit: int,
    calibration: Path | None,
    calibration_limit: int,
    phantoms: int,
    rounds: int,
    seed: int,
) -> None:
    """Quantise both networks in several ways; write times and agreement with FP32 into OUT.

    The quantised files go into a folder that is removed afterwards. Let the machine be quiet: the
    share that others take of it is written down too.
    """
    try:
        images = gather_images(
            phantoms=phantoms,
            seed=seed,
            calibration=calibration_limit,
            folder=calibration,
            data=data,
            data_limit=data_limit,
        )
        document = trial_document(model_repository, images, rounds)
    except (FileNotFoundError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    click.echo(int8_table(document))


def trial_document(repository: Path, images: TrialImages, rounds: int) -> dict[str, Any]:
    """Try every setting on both networks.

    Returns:
        What is written: the machine and all that the figures depend on, and by network what
        `try_network` gives.
    """
    head = {
        "schema": SCHEMA,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {**describe_machine(), "int8_instructions": int8_instructions()},
        "versions": {**describe_versions(), "onnx": version("onnx")},
        "commit": describe_commit(CHECKOUT),
        "seeds": {"phantoms": images.seed, "order": images.seed},
        "networks": weights_digest(repository),
        "others_share_before": others_share(),
        "protocol": {
            "threads": THREADS,
            "rounds": rounds,
            "calibration": images.calibration_text(),
            "phantoms": images.phantoms,
            "outlined_images": len(images.samples),
            "dice_from": INT8_GATE.dice_from,
            "score_within": INT8_GATE.score_within,
            "malignancy_within": INT8_GATE.malignancy_within,
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        found = {
            model.name: try_network(
                model, settings, repository, images, folder=Path(folder), rounds=rounds
            )
            for model, settings in SETTINGS.items()
        }
    return {**head, **found}


def int8_instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str] | None:
    """Return the processor's instructions for products of INT8; None where that cannot be told.

    Args:
        cpuinfo: What Linux says of the processor.
    """
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    words = set(re.findall(r"\w+", text))
    return [name for name in _INSTRUCTIONS if name in words]
