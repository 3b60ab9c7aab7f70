"""Plans of both runtimes for every network, how one is changed, and how it is then refused."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

import pytest

from made_up_plans import L4, NETWORKS, ONNX, PLAN, RECORD, VERSIONS
from thyroid_export.engine_cli import engine
from thyroid_pipeline.plan_machine import Gpu, Machine
from thyroid_pipeline.plan_manifest import PlanRecord, Runtime, plan_path, record_path, record_text
from thyroid_server.plan_check import PlanError, check_plans

MACHINE = Machine((L4,), "13.0", VERSIONS)


def machine_with(*gpus: Gpu, tensorrt: str = "10.13.3.9", rtx: str = "1.7.1.116") -> Machine:
    """A machine with these GPUs and libraries."""
    return Machine(gpus, "13.0", {Runtime.TENSORRT: tensorrt, Runtime.RTX: rtx})


def record_of(name: str, runtime: Runtime) -> PlanRecord:
    """As of a plan built on the L4, or for no GPU in particular."""
    targets = RECORD.compute_capabilities if runtime is Runtime.TENSORRT else ()
    return dataclasses.replace(
        RECORD,
        model=name,
        runtime=runtime,
        runtime_version=VERSIONS[runtime],
        compute_capabilities=targets,
    )


def make_plans(folder: Path) -> Path:
    """Whole plans of both runtimes for both networks, and the networks beside them."""
    for name in NETWORKS:
        for runtime in Runtime:
            plan = plan_path(folder, name, runtime)
            plan.parent.mkdir(parents=True, exist_ok=True)
            plan.write_bytes(PLAN)
            record_path(plan).write_text(record_text(record_of(name, runtime)))
        (folder / name / "1" / "model.onnx").write_bytes(ONNX)
    return folder


def change(
    repository: Path, name: str = "transunet", of: Runtime = Runtime.TENSORRT, **values: Any
) -> None:
    """Change a record."""
    record = dataclasses.replace(record_of(name, of), **values)
    record_path(plan_path(repository, name, of)).write_text(record_text(record))


def error_of(
    repository: Path, machine: Machine = MACHINE, runtime: Runtime = Runtime.TENSORRT
) -> PlanError:
    """The refusal; its command is one that `thyroid-export` takes, and names the repository."""
    with pytest.raises(PlanError) as raised:
        check_plans(repository, machine, runtime=runtime)
    error = raised.value
    assert error.mend.startswith("build it again: thyroid-export engine ")
    words = shlex.split(error.mend.removeprefix("build it again: "))
    context = engine.make_context("engine", words[2:])
    assert context.params["model_repository"] == repository
    assert context.params["runtime_name"] == runtime.value
    assert len(context.params["models"]) == 1
    return error
