"""Plans that this machine cannot serve: of another version, for another GPU, or without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_up_plans import L4, NETWORKS, PLAN, VERSIONS
from plan_checks import MACHINE, change, error_of, machine_with, make_plans
from thyroid_pipeline.plan_machine import Gpu, Machine
from thyroid_pipeline.plan_manifest import HardwareCompatibility, Runtime, plan_path
from thyroid_server.errors import PreflightError
from thyroid_server.plan_check import check_plans

RTX_4090 = Gpu("NVIDIA GeForce RTX 4090", "8.9", "580.82.07")
T4 = Gpu("Tesla T4", "7.5", "580.82.07")
H100 = Gpu("NVIDIA H100 80GB HBM3", "9.0", "580.82.07")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """On a path that a shell would take apart."""
    return make_plans(tmp_path / "my models")


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


def test_several_gpus_of_the_same_kind(repository: Path) -> None:
    check_plans(repository, machine_with(L4, L4))


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
