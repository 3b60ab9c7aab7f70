"""The plans of a repository, asked for before a server starts, ours or a container's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from made_up_plans import L4, PLAN, make_planned, on_machine, refusal, write_plan
from thyroid_pipeline import contract
from thyroid_pipeline.plan_machine import Gpu, Machine
from thyroid_pipeline.plan_manifest import BatchProfile, Runtime, plan_path, record_path
from thyroid_server import served_plans
from thyroid_server.errors import PreflightError
from thyroid_server.plan_check import PlanError
from thyroid_server.preflight import prepare
from thyroid_server.served_plans import find_planned, main
from thyroid_server.settings import ServerSettings


@pytest.fixture
def planned(tmp_path: Path, model_repository: Path) -> Path:
    return make_planned(tmp_path / "models", model_repository)


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


def narrow(plan: Path) -> None:
    write_plan(plan.parents[2], plan.parents[1].name, batch=BatchProfile(1, 4, 8))


def mistake(plan: Path) -> None:
    other = plan_path(plan.parents[2], "resnet18", Runtime.TENSORRT)
    shutil.copy(record_path(other), record_path(plan))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda plan: plan.write_bytes(PLAN[:-1]), "has 5 bytes"),
        (lambda plan: plan.write_bytes(PLAN[::-1]), "has the SHA-256"),
        (lambda plan: record_path(plan).unlink(), "has no record"),
        (mistake, "is one of resnet18 for TensorRT"),
        (better, "is stale"),
        (narrow, "takes batches of 1 to 8"),
    ],
    ids=["truncated", "replaced", "without a record", "another's", "stale", "other batches"],
)
@pytest.mark.parametrize("gpus", [(L4,), ()], ids=["on a GPU", "on none"])
def test_a_plan_that_is_none_is_refused_with_the_command_that_builds_it(
    planned: Path, monkeypatch: pytest.MonkeyPatch, gpus: tuple[Gpu, ...], damage: Any, words: str
) -> None:
    on_machine(monkeypatch, *gpus)
    damage(plan_path(planned, "transunet", Runtime.TENSORRT))
    said = refusal("--model-repository", str(planned), "--profile", "default")
    assert words in said
    assert "build it again: thyroid-export engine " in said
    assert "--runtime tensorrt --model transunet" in said


def test_where_no_gpu_is_nobody_is_sent_to_build_a_missing_plan(
    planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_path(planned, "transunet", Runtime.TENSORRT).unlink()
    arguments = ("--model-repository", str(planned), "--profile", "default")
    on_machine(monkeypatch, L4)
    said = refusal(*arguments)
    assert "there is no plan" in said
    assert "build it again: thyroid-export engine " in said
    on_machine(monkeypatch)
    assert "this machine shows no NVIDIA GPU" in refusal(*arguments)


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


@pytest.mark.parametrize(
    ("content", "words"),
    [(PLAN, "this machine shows no NVIDIA GPU"), (PLAN[:-1], "the plan ")],
    ids=["whole", "truncated"],
)
def test_the_command_is_a_module_and_refuses_with_exit_code_2(
    planned: Path, content: bytes, words: str
) -> None:
    plan_path(planned, "resnet18", Runtime.TENSORRT).write_bytes(content)
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
    assert done.stderr.startswith(f"thyroid-serve: {words}")
    assert "Traceback" not in done.stderr
