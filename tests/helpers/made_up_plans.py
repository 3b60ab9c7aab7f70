"""A repository whose plans are whole and up to date, on machines that are made up."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from thyroid_pipeline import contract
from thyroid_pipeline.plan_machine import Gpu, Machine
from thyroid_pipeline.plan_manifest import (
    BatchProfile,
    HardwareCompatibility,
    PlanRecord,
    Runtime,
    plan_path,
    record_path,
    record_text,
)
from thyroid_server import served_plans
from thyroid_server.cli import main as serve

L4 = Gpu("NVIDIA L4", "8.9", "580.82.07")
VERSIONS = {Runtime.TENSORRT: "10.13.3.9", Runtime.RTX: "1.7.1.116"}
NETWORKS = [model.name for model in contract.NETWORKS]
ONNX, PLAN = b"a network", b"a plan"
RECORD = PlanRecord(
    model="transunet",
    runtime=Runtime.TENSORRT,
    runtime_version=VERSIONS[Runtime.TENSORRT],
    onnx_sha256=hashlib.sha256(ONNX).hexdigest(),
    made_of_sha256=hashlib.sha256(ONNX).hexdigest(),
    plan_sha256=hashlib.sha256(PLAN).hexdigest(),
    plan_bytes=len(PLAN),
    precision="fp32",
    batch=BatchProfile(1, 8, 16),
    workspace_mib=None,
    version_compatible=False,
    hardware_compatibility=HardwareCompatibility.NONE,
    compute_capabilities=("8.9",),
    gpu=L4.name,
    driver=L4.driver,
    cuda="13.0",
    built="2026-11-23T20:00:00+00:00",
)


def write_plan(folder: Path, name: str, runtime: Runtime = Runtime.TENSORRT, **values: Any) -> Path:
    """A plan where a runtime looks for it, and its record, with some values of one's own."""
    values = {"runtime_version": VERSIONS[runtime], **values}
    record = dataclasses.replace(RECORD, model=name, runtime=runtime, **values)
    plan = plan_path(folder, name, runtime)
    plan.write_bytes(PLAN)
    record_path(plan).write_text(record_text(record))
    return plan


def make_planned(folder: Path, model_repository: Path) -> Path:
    """The shipped repository's configs, with whole plans built on the L4 of made-up networks."""
    shutil.copytree(
        model_repository, folder, ignore=shutil.ignore_patterns("*.onnx", "*.plan*", "__pycache__")
    )
    for name in NETWORKS:
        (folder / name / "1" / "model.onnx").write_bytes(ONNX)
        write_plan(folder, name)
    return folder


def on_machine(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu, **versions: str) -> None:
    """Let the checks find these GPUs and versions."""
    runtimes = {**VERSIONS, **{Runtime(name): version for name, version in versions.items()}}
    machine = Machine(gpus, "13.0", runtimes)
    monkeypatch.setattr(served_plans, "read_machine", lambda: machine)


def refusal(*arguments: str) -> str:
    """What `thyroid-serve` says as it refuses to start."""
    ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
    result = CliRunner().invoke(serve, [*arguments, *ports])
    assert result.exit_code == 2, result.output
    assert result.output.startswith("thyroid-serve: ")
    assert [line.split(":")[0] for line in result.output.splitlines()[1:]] == [
        "  wanted",
        "  to mend it",
    ]
    return result.output
