"""The plans of a repository, asked for before a server starts, ours or a container's."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import subprocess
import sys
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
from thyroid_server.errors import PreflightError
from thyroid_server.plan_check import PlanError
from thyroid_server.preflight import prepare
from thyroid_server.served_plans import find_planned, main
from thyroid_server.settings import ServerSettings

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
    version_compatible=False,
    hardware_compatibility=HardwareCompatibility.NONE,
    compute_capabilities=("8.9",),
    gpu=L4.name,
    driver=L4.driver,
    cuda="13.0",
    built="2026-11-23T20:00:00+00:00",
)


def write_plan(folder: Path, name: str, runtime: Runtime = Runtime.TENSORRT, **values: Any) -> Path:
    record = dataclasses.replace(
        RECORD, model=name, runtime=runtime, runtime_version=VERSIONS[runtime]
    )
    plan = plan_path(folder, name, runtime)
    plan.write_bytes(PLAN)
    record_path(plan).write_text(record_text(dataclasses.replace(record, **values)))
    return plan


@pytest.fixture
def planned(tmp_path: Path, model_repository: Path) -> Path:
    """The shipped repository's configs, with whole plans built on the L4 of made-up networks."""
    folder = tmp_path / "models"
    shutil.copytree(
        model_repository, folder, ignore=shutil.ignore_patterns("*.onnx", "*.plan*", "__pycache__")
    )
    for name in NETWORKS:
        (folder / name / "1" / "model.onnx").write_bytes(ONNX)
        write_plan(folder, name)
    return folder


def on_machine(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu, **versions: str) -> None:
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


def test_this_machine_without_a_gpu_refuses_plans(
    planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_machine(monkeypatch)
    words = refusal("--model-repository", str(planned), "--profile", "default")
    assert "this machine shows no NVIDIA GPU" in words
    assert "--profile cpu" in words


def test_the_machine_itself_is_asked(
    planned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # which hides a GPU, where there is one
    assert "no NVIDIA GPU" in refusal("--model-repository", str(planned), "--profile", "default")


H100 = Gpu("NVIDIA H100 80GB HBM3", "9.0", "580.82.07")


def better(plan: Path) -> None:
    plan.with_name("model.onnx").write_bytes(b"a better network")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda plan: plan.unlink(), "there is no plan"),
        (lambda plan: plan.write_bytes(PLAN[:-1]), "has 5 bytes"),
        (lambda plan: plan.write_bytes(PLAN[::-1]), "has the SHA-256"),
        (better, "is stale"),
    ],
    ids=["missing", "truncated", "replaced", "stale"],
)
def test_a_plan_that_is_none_is_refused_with_the_command_that_builds_it(
    planned: Path, monkeypatch: pytest.MonkeyPatch, damage: Any, words: str
) -> None:
    on_machine(monkeypatch, L4)
    damage(plan_path(planned, "transunet", Runtime.TENSORRT))
    said = refusal("--model-repository", str(planned), "--profile", "default")
    assert words in said
    assert "build it again: thyroid-export engine " in said
    assert "--runtime tensorrt --model transunet" in said


@pytest.mark.parametrize(
    ("gpu", "tensorrt", "words"),
    [
        (L4, "10.16.1.11", "was built by TensorRT 10.13.3.9"),
        (H100, "10.13.3.9", "is for NVIDIA L4"),
    ],
    ids=["another TensorRT", "another GPU"],
)
def test_a_foreign_plan_is_refused_with_the_command_that_builds_it(
    planned: Path, monkeypatch: pytest.MonkeyPatch, gpu: Gpu, tensorrt: str, words: str
) -> None:
    on_machine(monkeypatch, gpu, tensorrt=tensorrt)
    said = refusal("--model-repository", str(planned), "--profile", "default")
    assert words in said
    assert "build it again: thyroid-export engine " in said


def test_whole_plans_want_the_container(
    planned: Path, monkeypatch: pytest.MonkeyPatch, message_of: Any
) -> None:
    on_machine(monkeypatch, L4)
    with pytest.raises(PreflightError) as error:
        prepare(ServerSettings(planned))
    assert not isinstance(error.value, PlanError)
    message = message_of(error)
    assert "transunet, resnet18 would run from TensorRT plans" in message
    assert "thyroid-serve --profile default --print-command" in message


def test_a_profile_without_plans_asks_for_no_gpu(
    planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Machine:
        raise AssertionError("nobody needs to know the machine")

    monkeypatch.setattr(served_plans, "read_machine", fail)
    assert find_planned(planned, "cpu") == {}
    with prepare(ServerSettings(planned, profile="cpu")).ports:
        pass


def test_plans_of_the_other_runtime_are_told_by_their_file(
    planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NETWORKS:
        config = planned / name / "configs" / "appliance.pbtxt"
        config.write_text(
            f'name: "{name}" backend: "python" default_model_filename: "model.rtx.plan"'
        )
        write_plan(planned, name, Runtime.RTX, compute_capabilities=())
    assert find_planned(planned, "appliance") == {Runtime.RTX: list(contract.NETWORKS)}
    on_machine(monkeypatch, L4)
    with prepare(ServerSettings(planned, profile="appliance")).ports:
        pass
    on_machine(monkeypatch, L4, rtx="1.8.0.1")
    said = refusal("--model-repository", str(planned), "--profile", "appliance")
    assert "was built by TensorRT for RTX 1.7.1.116" in said
    assert "--runtime rtx" in said


@pytest.mark.parametrize("text", ["no config {", None], ids=["broken", "missing"])
def test_a_config_that_is_none_is_left_to_the_repository_s_check(
    planned: Path, text: str | None
) -> None:
    config = planned / "transunet" / "config.pbtxt"
    config.unlink() if text is None else config.write_text(text)
    assert find_planned(planned, None) == {Runtime.TENSORRT: [contract.RESNET18]}


# --- the command in front of a container's tritonserver


def command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.output


def test_the_command_names_what_can_be_served(
    planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_machine(monkeypatch, L4)
    repository = ("--model-repository", str(planned))
    assert command(*repository) == (0, "TensorRT can serve transunet, resnet18 here\n")
    assert command(*repository, "--profile", "cpu") == (0, "the profile cpu serves no plan\n")


def test_the_command_is_a_module_and_refuses_with_exit_code_2(planned: Path) -> None:
    plan_path(planned, "resnet18", Runtime.TENSORRT).write_bytes(b"")
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "thyroid_server.served_plans"),
            *("--model-repository", str(planned)),
        ],
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("thyroid-serve: this machine shows no NVIDIA GPU")
    assert "Traceback" not in done.stderr
