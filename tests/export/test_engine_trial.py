"""A plan that was just built is tried where it is for this machine's GPU, and only there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from thyroid_export import engine_manifest
from thyroid_export.engine_builder import BuildOptions, Built
from thyroid_export.engine_cli import engine
from thyroid_export.engine_runtime import is_for
from thyroid_pipeline import contract
from thyroid_pipeline.plan_machine import Gpu, Machine
from thyroid_pipeline.plan_manifest import Runtime, plan_path, read_record, record_path
from thyroid_server.plan_check import PlanError, check_plans

VERSIONS = {Runtime.TENSORRT: "10.13.3.9", Runtime.RTX: "1.7.1.116"}
CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "9.0", "12.0")


def gpu(capability: str) -> Gpu:
    return Gpu(f"NVIDIA {capability}", capability, "580.82.07")


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each build tried its plan; the library is made up, and builds anything."""
    tried: list[bool] = []

    def build(trt: Any, file: Path, options: BuildOptions, cache: Any, *, try_it: bool) -> Built:
        tried.append(try_it)
        return Built(memoryview(b"a plan"), None, ())

    def load(runtime: Runtime) -> Any:
        return SimpleNamespace(__name__="made up", __version__=VERSIONS[runtime])

    monkeypatch.setattr(engine_manifest, "build_plan", build)
    monkeypatch.setattr(engine_manifest, "load_runtime", load)
    return tried


Build = Callable[..., str]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tries: list[bool]) -> Build:
    """What the command says that builds the shipped classifier's plan on such a machine."""

    def run(runtime: str, *arguments: str, on: str | None = None) -> str:
        machine = Machine((gpu(on),) if on else (), "13.0", VERSIONS)
        monkeypatch.setattr("thyroid_export.engine_cli.read_machine", lambda: machine)
        words = ["--runtime", runtime, "--model", contract.RESNET18.name, "--out", str(tmp_path)]
        result = CliRunner().invoke(engine, [*words, *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


def naming(targets: tuple[str, ...]) -> list[str]:
    return [word for target in targets for word in ("--compute-capability", target)]


@pytest.mark.parametrize(
    ("runtime", "targets", "here"),
    [
        ("rtx", ("8.9",), "8.9"),
        ("rtx", ("7.5",), "7.5"),
        ("rtx", (), "8.6"),
        ("rtx", ("7.5",), None),  # its outer form, as far as that goes without a GPU
        ("tensorrt", (), "7.5"),
    ],
)
def test_a_plan_is_tried_where_it_is_for_the_gpu(
    build: Build, tries: list[bool], runtime: str, targets: tuple[str, ...], here: str | None
) -> None:
    assert "was not tried" not in build(runtime, *naming(targets), on=here)
    assert tries == [True]


@pytest.mark.parametrize(
    ("targets", "words"), [(("8.6", "8.9"), "8.6, 8.9"), ((), "8.0 and later")], ids=str
)
def test_a_plan_for_other_gpus_is_kept_and_said_to_be_untried(
    build: Build, tries: list[bool], tmp_path: Path, targets: tuple[str, ...], words: str
) -> None:
    said = build("rtx", *naming(targets), on="7.5")
    assert tries == [False]
    plan = plan_path(tmp_path, contract.RESNET18.name, Runtime.RTX)
    assert (
        f"{plan} was not tried here: it is for compute capability {words}, and NVIDIA 7.5 has 7.5\n"
    ) in said
    assert plan.read_bytes() == b"a plan"
    assert read_record(record_path(plan)).compute_capabilities == targets


@pytest.mark.parametrize("targets", [(), ("7.5",), ("8.6", "8.9"), ("12.0",)], ids=str)
def test_what_is_tried_is_what_the_server_would_run(
    build: Build, tmp_path: Path, targets: tuple[str, ...]
) -> None:
    build("rtx", *naming(targets))
    for capability in CAPABILITIES:
        machine = Machine((gpu(capability),), "13.0", VERSIONS)
        try:
            check_plans(tmp_path, machine, runtime=Runtime.RTX, models=[contract.RESNET18])
        except PlanError:
            serves = False
        else:
            serves = True
        assert is_for(machine.gpus[0], Runtime.RTX, targets) is serves, capability


def test_tf32_is_asked_for_and_stands_in_the_record(build: Build, tmp_path: Path) -> None:
    record = record_path(plan_path(tmp_path, contract.RESNET18.name, Runtime.RTX))
    assert ", fp32, batch 1 to 16" in build("rtx")
    assert read_record(record).precision == "fp32"
    assert ", tf32, batch 1 to 16" in build("rtx", "--tf32")
    assert read_record(record).precision == "tf32"


def test_the_workspace_limit_stands_in_the_record(build: Build, tmp_path: Path) -> None:
    record = record_path(plan_path(tmp_path, contract.RESNET18.name, Runtime.RTX))
    build("rtx")
    assert read_record(record).workspace_mib is None
    build("rtx", "--workspace-mib", "512")
    assert read_record(record).workspace_mib == 512
