"""The profile `rtx`: refused before the start where it cannot be served, and in the real server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from made_up_plans import L4, NETWORKS, make_planned, on_machine, refusal, write_plan
from rtx_wheel import needs_rtx
from thyroid_export.engine_cli import engine
from thyroid_pipeline import contract
from thyroid_pipeline.plan_machine import Machine
from thyroid_pipeline.plan_manifest import Runtime, plan_path, record_path
from thyroid_server import served_plans
from thyroid_server.cli import main as serve
from thyroid_server.embedded import EmbeddedTriton
from thyroid_server.errors import StartError
from thyroid_server.machine import has_gpu
from thyroid_server.plan_check import PlanError, check_plans
from thyroid_server.preflight import prepare
from thyroid_server.rtx_engine import RtxEngine, load_library
from thyroid_server.served_plans import find_planned
from thyroid_server.settings import ServerSettings

without_gpu = pytest.mark.skipif(has_gpu(), reason="this is what is said without a GPU")


@pytest.fixture
def appliance(tmp_path: Path, model_repository: Path) -> Path:
    """The shipped configs, with plans of TensorRT for RTX, built for no GPU in particular."""
    planned = make_planned(tmp_path / "models", model_repository)
    for name in NETWORKS:
        write_plan(planned, name, Runtime.RTX, compute_capabilities=(), gpu=None)
    return planned


def refusal_of_rtx(repository: Path) -> str:
    return refusal("--model-repository", str(repository), "--profile", "rtx")


def test_the_rtx_profile_runs_from_plans_of_its_own(
    appliance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_planned(appliance, "rtx") == {Runtime.RTX: list(contract.NETWORKS)}
    on_machine(monkeypatch, L4)
    with prepare(ServerSettings(appliance, profile="rtx")).ports:
        pass


def remove(plan: Path) -> None:
    plan.unlink()


def rewrite(plan: Path, **values: Any) -> None:
    write_plan(plan.parents[2], plan.parents[1].name, Runtime.RTX, **values)


def replace_the_network(plan: Path) -> None:
    plan.with_name("model.onnx").write_bytes(b"a better network")


def put_the_other_runtimes_there(plan: Path) -> None:
    other = plan_path(plan.parents[2], plan.parents[1].name, Runtime.TENSORRT)
    shutil.copy(other, plan)
    shutil.copy(record_path(other), record_path(plan))


def build_by_another_release(plan: Path) -> None:
    rewrite(plan, runtime_version="1.8.0.1")


def build_for_another_gpu(plan: Path) -> None:
    rewrite(plan, compute_capabilities=("12.0",))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (remove, "there is no plan"),
        (put_the_other_runtimes_there, "is one of transunet for TensorRT"),
        (build_by_another_release, "was built by TensorRT for RTX 1.8.0.1"),
        (build_for_another_gpu, "is for compute capability 12.0"),
        (replace_the_network, "is stale"),
    ],
)
def test_the_rtx_profile_refuses_what_it_cannot_serve(
    appliance: Path, monkeypatch: pytest.MonkeyPatch, damage: Any, words: str
) -> None:
    on_machine(monkeypatch, L4)
    damage(plan_path(appliance, "transunet", Runtime.RTX))
    said = refusal_of_rtx(appliance)
    assert words in said
    assert "build it again: thyroid-export engine " in said
    assert "--runtime rtx --model transunet" in said


def test_the_rtx_profile_wants_its_library(
    appliance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine((L4,), "13.0", {Runtime.TENSORRT: "10.13.3.9"})
    monkeypatch.setattr(served_plans, "read_machine", lambda: machine)
    said = refusal_of_rtx(appliance)
    assert "TensorRT for RTX was not found" in said
    assert "pip install 'thyroid-triton[rtx]'" in said


def test_a_real_start_of_the_rtx_profile_without_a_gpu_is_refused(
    appliance: Path, tmp_path: Path
) -> None:
    hidden = {**os.environ, "PATH": str(tmp_path)}  # nvidia-smi, where there is one
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from thyroid_server.cli import main; main()"),
            *("--model-repository", str(appliance), "--profile", "rtx"),
        ],
        env=hidden,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    came, wanted, mend = done.stderr.splitlines()
    assert came.startswith("thyroid-serve: this machine shows no NVIDIA GPU")
    assert wanted.startswith("  wanted: a GPU and its driver")
    assert "--profile cpu" in mend


def test_a_container_has_no_such_backend() -> None:
    result = CliRunner().invoke(serve, ["--profile", "rtx", "--print-command"])
    assert result.exit_code == 2
    assert "the profile rtx runs on a backend of this package" in result.output
    assert "  to mend it: serve without a container" in result.output


# --- a real plan, as `thyroid-export engine` writes it


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, model_repository: Path) -> Path:
    """The shipped repository with the plan of ResNet-18, brought there as docs/deploy.md says."""
    folder = tmp_path_factory.mktemp("built")
    ignored = shutil.ignore_patterns("*.plan*")
    shutil.copytree(model_repository, folder / "model_repository", ignore=ignored)
    arguments = ["--runtime", "rtx", "--out", str(folder / "appliance"), "--model", "resnet18"]
    result = CliRunner().invoke(engine, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    copy = "cp --recursive appliance/. model_repository/"
    subprocess.run(copy.split(), cwd=folder, check=True)
    return folder / "model_repository"


@needs_rtx
def test_what_is_built_passes_the_checks(built: Path) -> None:
    check_plans(
        built,
        Machine((L4,), "13.0", {Runtime.RTX: version("tensorrt-rtx")}),
        runtime=Runtime.RTX,
        models=[contract.RESNET18],
    )


@needs_rtx
@without_gpu
def test_the_real_library_says_that_it_finds_no_gpu(built: Path, message_of: Any) -> None:
    with pytest.raises(PlanError) as error:
        RtxEngine(load_library(), plan_path(built, "resnet18", Runtime.RTX))
    message = message_of(error)
    assert "TensorRT for RTX does not load" in message
    assert re.search(r"ERROR: .*cudaError (35|100): ", message)


# --- the backend in a real Triton


@needs_rtx
@pytest.mark.server
@without_gpu
def test_triton_loads_the_backend_which_says_what_it_lacks(
    tmp_path: Path, model_repository: Path
) -> None:
    """Past the checks before the start, which would have refused the profile: by another name."""
    folder = tmp_path / "engine"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.rtx.plan").write_bytes(b"a plan that nobody comes to read")
    config = (model_repository / "resnet18" / "configs" / "rtx.pbtxt").read_text()
    # Triton itself refuses KIND_GPU where there is none.
    config = config.replace("KIND_GPU", "KIND_CPU").replace('"resnet18"', '"engine"')
    (folder / "config.pbtxt").write_text(config)
    with pytest.raises(StartError) as error:
        EmbeddedTriton(ServerSettings(tmp_path, stop_timeout_s=0.0)).start()
    words = str(error.value)
    assert "cudaSetDevice on GPU 0 failed: cudaError" in words
    assert "wanted: an NVIDIA GPU of that number" in words
    assert "thyroid-serve --profile cpu" in words
