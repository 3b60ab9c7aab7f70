"""Plans that cannot be served, each refused with what came, what was wanted and the way out."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
from pathlib import Path
from typing import Any

import pytest

from thyroid_export.cli import onnx
from thyroid_export.engine_cli import engine
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
from thyroid_server.errors import PreflightError
from thyroid_server.plan_check import PlanError, check_plans

L4 = Gpu("NVIDIA L4", "8.9", "580.82.07")
RTX_4090 = Gpu("NVIDIA GeForce RTX 4090", "8.9", "580.82.07")
T4 = Gpu("Tesla T4", "7.5", "580.82.07")
H100 = Gpu("NVIDIA H100 80GB HBM3", "9.0", "580.82.07")
VERSIONS = {Runtime.TENSORRT: "10.13.3.9", Runtime.RTX: "1.7.1.116"}
MACHINE = Machine((L4,), "13.0", VERSIONS)
NETWORKS = [model.name for model in contract.NETWORKS]
ONNX = b"a network"
PLAN = b"a plan"


def machine_with(*gpus: Gpu, tensorrt: str = "10.13.3.9", rtx: str = "1.7.1.116") -> Machine:
    return Machine(gpus, "13.0", {Runtime.TENSORRT: tensorrt, Runtime.RTX: rtx})


def record_of(name: str, runtime: Runtime) -> PlanRecord:
    """As of a plan built on the L4."""
    return PlanRecord(
        model=name,
        runtime=runtime,
        runtime_version=VERSIONS[runtime],
        onnx_sha256=hashlib.sha256(ONNX).hexdigest(),
        made_of_sha256=hashlib.sha256(ONNX).hexdigest(),
        plan_sha256=hashlib.sha256(PLAN).hexdigest(),
        plan_bytes=len(PLAN),
        precision="fp32",
        batch=BatchProfile(1, 8, 16),
        version_compatible=False,
        hardware_compatibility=HardwareCompatibility.NONE,
        compute_capabilities=("8.9",) if runtime is Runtime.TENSORRT else (),
        gpu=L4.name,
        driver=L4.driver,
        cuda="13.0",
        built="2026-11-23T20:00:00+00:00",
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Whole plans of both runtimes for both networks; a name that a shell would take apart."""
    folder = tmp_path / "my models"
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


@pytest.mark.parametrize("runtime", Runtime)
def test_whole_plans_for_this_machine_are_served(repository: Path, runtime: Runtime) -> None:
    check_plans(repository, MACHINE, runtime=runtime)


def test_several_gpus_of_the_same_kind(repository: Path) -> None:
    check_plans(repository, machine_with(L4, L4))


def test_plans_alone_are_enough(repository: Path) -> None:
    for name in NETWORKS:
        (repository / name / "1" / "model.onnx").unlink()
    check_plans(repository, MACHINE)


# --- files


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


# --- versions


@pytest.mark.parametrize(
    ("built", "running"),
    [("10.13.3.9", "10.13.3.10"), ("10.16.1.11", "10.13.3.9"), ("10.13.3.9", "11.4.0.106")],
)
def test_a_plan_of_another_version(repository: Path, built: str, running: str) -> None:
    change(repository, runtime_version=built)
    error = error_of(repository, machine_with(L4, tensorrt=running))
    assert f"was built by TensorRT {built}" in error.came
    assert error.wanted == f"{running}, which runs here"


@pytest.mark.parametrize(
    ("built", "running", "reads"),
    [
        ("10.13.3.9", "10.16.1.11", True),
        ("10.9.0.34", "10.13.3.9", True),
        ("10.13.3.9", "11.4.0.106", True),
        ("10.16.1.11", "10.13.3.9", False),
        ("11.4.0.106", "10.16.1.11", False),
        ("10.16.1.11", "12.0.0.1", False),
    ],
)
def test_a_version_compatible_plan(repository: Path, built: str, running: str, reads: bool) -> None:
    for name in NETWORKS:
        change(repository, name, runtime_version=built, version_compatible=True)
    machine = machine_with(L4, tensorrt=running)
    if reads:
        check_plans(repository, machine)
        return
    error = error_of(repository, machine)
    assert "version-compatible" in error.came
    assert "--version-compatible" in error.mend


def test_an_rtx_plan_is_of_one_release(repository: Path) -> None:
    error = error_of(repository, machine_with(L4, rtx="1.8.0.1"), Runtime.RTX)
    assert "was built by TensorRT for RTX 1.7.1.116" in error.came


# --- GPUs


def test_a_plan_for_another_gpu(repository: Path) -> None:
    for gpu in (RTX_4090, H100):
        error = error_of(repository, machine_with(gpu))
        assert "is for NVIDIA L4 (compute capability 8.9)" in error.came
        assert error.wanted.startswith(f"{gpu.name} (compute capability {gpu.compute_capability})")


def test_the_second_gpu_counts_too(repository: Path) -> None:
    assert H100.name in error_of(repository, machine_with(L4, H100)).wanted


@pytest.mark.parametrize(
    ("level", "runs", "refused"),
    [
        (HardwareCompatibility.SAME_CAPABILITY, [L4, RTX_4090], [H100, T4]),
        (HardwareCompatibility.AMPERE, [L4, RTX_4090, H100], [T4]),
    ],
)
def test_a_hardware_compatible_plan(
    repository: Path, level: HardwareCompatibility, runs: list[Gpu], refused: list[Gpu]
) -> None:
    for name in NETWORKS:
        change(repository, name, hardware_compatibility=level)
    check_plans(repository, machine_with(*runs))
    for gpu in refused:
        error = error_of(repository, machine_with(gpu))
        assert f"--hardware-compatible {level.value}" in error.mend


def test_an_rtx_plan_of_the_default_targets(repository: Path) -> None:
    check_plans(repository, machine_with(L4, RTX_4090, H100), runtime=Runtime.RTX)
    error = error_of(repository, machine_with(T4), Runtime.RTX)
    assert "compute capability 8.0 and later" in error.came
    assert error.mend.endswith("--compute-capability 7.5")  # not among the default's


def test_an_rtx_plan_of_named_targets(repository: Path) -> None:
    for name in NETWORKS:
        change(repository, name, Runtime.RTX, compute_capabilities=("8.6", "8.9"))
    check_plans(repository, MACHINE, runtime=Runtime.RTX)
    error = error_of(repository, machine_with(H100), Runtime.RTX)
    assert "compute capability 8.6, 8.9" in error.came
    assert "--compute-capability" not in error.mend  # the default's run there
    error = error_of(repository, machine_with(T4), Runtime.RTX)
    assert error.mend.endswith(
        "--model transunet --min-batch 1 --opt-batch 8 --max-batch 16 --compute-capability 7.5"
    )


def test_an_rtx_plan_is_built_again_for_the_targets_it_had(repository: Path) -> None:
    change(repository, of=Runtime.RTX, compute_capabilities=("8.6", "8.9"))
    plan_path(repository, "transunet", Runtime.RTX).write_bytes(PLAN[:-1])
    mend = error_of(repository, runtime=Runtime.RTX).mend
    assert mend.endswith("--compute-capability 8.6 --compute-capability 8.9")


# --- machines that serve no plan


def test_a_machine_without_a_gpu(repository: Path) -> None:
    with pytest.raises(PreflightError) as error:
        check_plans(repository, Machine((), None, VERSIONS))
    assert "no NVIDIA GPU" in error.value.came
    assert "--profile cpu" in error.value.mend


@pytest.mark.parametrize("runtime", Runtime)
def test_a_machine_without_the_library(repository: Path, runtime: Runtime) -> None:
    others = {each: version for each, version in VERSIONS.items() if each is not runtime}
    with pytest.raises(PreflightError) as error:
        check_plans(repository, Machine((L4,), "13.0", others), runtime=runtime)
    assert error.value.came == f"{runtime.label} was not found on this machine"
