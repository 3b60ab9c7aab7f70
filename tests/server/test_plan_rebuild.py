"""The command that builds a plan again: as it was built, in words that `thyroid-export` takes."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest

from made_up_plans import RECORD
from thyroid_export.engine_cli import engine
from thyroid_pipeline.plan_manifest import BatchProfile, HardwareCompatibility, Runtime
from thyroid_server.plan_rebuild import how_to_rebuild

MODELS = Path("models")


def test_the_command_builds_as_before() -> None:
    record = dataclasses.replace(
        RECORD,
        precision="tf32",
        batch=BatchProfile(1, 4, 32),
        workspace_mib=512,
        version_compatible=True,
        hardware_compatibility=HardwareCompatibility.AMPERE,
    )
    rebuild = how_to_rebuild(MODELS, "transunet", Runtime.TENSORRT, record)
    assert rebuild.command == (
        "thyroid-export engine --model-repository models --runtime tensorrt --model transunet "
        "--min-batch 1 --opt-batch 4 --max-batch 32 --workspace-mib 512 --tf32 "
        "--version-compatible --hardware-compatible ampere"
    )
    # It is what the builder is then given.
    built = engine.make_context("engine", shlex.split(rebuild.command)[2:]).params
    assert built["workspace_mib"] == record.workspace_mib
    # Without --compute-capability: the GPU's own, which is not chosen.
    assert (rebuild.half, rebuild.as_before) == (None, True)


def test_options_that_were_left_out_are_left_out_again() -> None:
    command = how_to_rebuild(MODELS, "transunet", Runtime.TENSORRT, RECORD).command
    assert command.endswith("--model transunet --min-batch 1 --opt-batch 8 --max-batch 16")


@pytest.mark.parametrize("targets", [(), ("8.6", "8.9")], ids=str)
def test_a_plan_of_tensorrt_for_rtx_is_built_for_the_same_gpus(targets: tuple[str, ...]) -> None:
    record = dataclasses.replace(RECORD, runtime=Runtime.RTX, compute_capabilities=targets)
    command = how_to_rebuild(MODELS, "transunet", Runtime.RTX, record).command
    made = engine.make_context("engine", shlex.split(command)[2:]).params
    assert made["compute_capabilities"] == targets


def test_what_was_never_built_is_built_by_the_defaults() -> None:
    rebuild = how_to_rebuild(MODELS, "resnet18", Runtime.RTX)
    assert rebuild.command == (
        "thyroid-export engine --model-repository models --runtime rtx --model resnet18"
    )
    assert (rebuild.half, rebuild.as_before) == (None, False)


def test_half_precision_is_said_beside_the_command() -> None:
    record = dataclasses.replace(RECORD, precision="fp32+fp16", onnx_sha256="d" * 64)
    rebuild = how_to_rebuild(MODELS, "transunet", Runtime.TENSORRT, record)
    assert rebuild.half == "fp16"
    assert "--precision fp16" in rebuild.command.split(" && ")[0]
