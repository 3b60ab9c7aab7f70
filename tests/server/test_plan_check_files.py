"""Plans whose files cannot be served, each refused with what came, was wanted and the way out."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path
from typing import Any

import pytest

from made_up_plans import NETWORKS, ONNX, PLAN
from plan_checks import MACHINE, change, error_of, make_plans
from thyroid_export.cli import onnx
from thyroid_export.engine_cli import engine
from thyroid_pipeline.plan_manifest import BatchProfile, Runtime, plan_path, record_path
from thyroid_server.plan_check import PlanError, check_plans


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """On a path that a shell would take apart."""
    return make_plans(tmp_path / "my models")


@pytest.mark.parametrize("runtime", Runtime)
def test_whole_plans_for_this_machine_are_served(repository: Path, runtime: Runtime) -> None:
    check_plans(repository, MACHINE, runtime=runtime)


def test_plans_alone_are_enough(repository: Path) -> None:
    for name in NETWORKS:
        (repository / name / "1" / "model.onnx").unlink()
    check_plans(repository, MACHINE)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_missing_plan(repository: Path, name: str) -> None:
    plan = plan_path(repository, name, Runtime.TENSORRT)
    plan.unlink()
    error = error_of(repository)
    assert error.came == f"there is no plan {plan}"
    assert f"--model {name}" in error.mend


def test_a_plan_without_a_record(repository: Path) -> None:
    record_path(plan_path(repository, "transunet", Runtime.TENSORRT)).unlink()
    assert "has no record model.plan.json beside it" in error_of(repository).came


def test_a_record_that_is_none(repository: Path) -> None:
    record_path(plan_path(repository, "transunet", Runtime.TENSORRT)).write_text("{")
    assert "model.plan.json is no record of a plan" in error_of(repository).came


def test_a_truncated_plan(repository: Path) -> None:
    plan = plan_path(repository, "resnet18", Runtime.TENSORRT)
    plan.write_bytes(PLAN[:-2])
    error = error_of(repository)
    assert error.came == f"the plan {plan} has 4 bytes"
    assert error.wanted.startswith("the 6 bytes that were built")


def test_a_plan_that_was_changed_or_replaced(repository: Path) -> None:
    plan = plan_path(repository, "resnet18", Runtime.TENSORRT)
    plan.write_bytes(PLAN[::-1])
    error = error_of(repository)
    assert hashlib.sha256(PLAN[::-1]).hexdigest() in error.came
    assert hashlib.sha256(PLAN).hexdigest() in error.wanted


@pytest.mark.parametrize("values", [{"model": "resnet18"}, {"runtime": Runtime.RTX}], ids=str)
def test_a_foreign_plan(repository: Path, values: dict[str, Any]) -> None:
    change(repository, **values)
    error = error_of(repository)
    assert "is one of" in error.came
    assert error.wanted == "one of transunet for TensorRT"


def test_a_stale_plan(repository: Path) -> None:
    network = repository / "transunet" / "1" / "model.onnx"
    network.write_bytes(b"a better network")
    error = error_of(repository)
    assert "is stale" in error.came
    assert hashlib.sha256(ONNX).hexdigest() in error.came
    assert hashlib.sha256(b"a better network").hexdigest() in error.wanted


@pytest.mark.parametrize("beside", [ONNX, b"in half precision"], ids=["fp32", "the mixed file"])
def test_a_plan_in_mixed_precision_is_not_stale(repository: Path, beside: bytes) -> None:
    for name in NETWORKS:
        mixed = hashlib.sha256(b"in half precision").hexdigest()
        change(repository, name, onnx_sha256=mixed, precision="fp32+fp16")
        (repository / name / "1" / "model.onnx").write_bytes(beside)
    check_plans(repository, MACHINE)


def test_a_stale_plan_in_mixed_precision_is_built_again_from_the_fp32_file(
    repository: Path,
) -> None:
    mixed = hashlib.sha256(b"in half precision").hexdigest()
    change(repository, onnx_sha256=mixed, precision="fp32+fp16")
    (repository / "transunet" / "1" / "model.onnx").write_bytes(b"a better network")
    with pytest.raises(PlanError, match="is stale") as raised:
        check_plans(repository, MACHINE)
    first, second = raised.value.mend.removeprefix("build it again: ").split(" && ")
    words = shlex.split(first)
    assert words[:2] == ["thyroid-export", "onnx"]
    made = onnx.make_context("onnx", words[2:]).params
    assert made["model_repository"] == repository
    assert (made["precision"], made["models"]) == ("fp16", ("transunet",))
    words = shlex.split(second)
    assert words[:2] == ["thyroid-export", "engine"]
    built = engine.make_context("engine", words[2:]).params
    assert (built["model_repository"], built["out"]) == (made["out"], repository)
    # Triton takes every folder in the repository for a model.
    assert repository not in made["out"].parents


def test_a_plan_beside_its_mixed_file_is_built_again_from_that(repository: Path) -> None:
    change(repository, precision="fp32+fp16", batch=BatchProfile(1, 4, 8))
    assert " && " not in error_of(repository).mend


@pytest.mark.parametrize("batch", [BatchProfile(1, 4, 8), BatchProfile(2, 8, 16)])
def test_a_plan_for_other_batches(repository: Path, batch: BatchProfile) -> None:
    change(repository, batch=batch)
    error = error_of(repository)
    assert f"takes batches of {batch.min} to {batch.max}" in error.came
    assert error.wanted.startswith("1 to 16")
    assert "--max-batch" not in error.mend  # it would be refused again
