"""The commands of docs/engines.md, each of them run where this machine can run it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from rtx_wheel import needs_rtx
from thyroid_export.cli import main
from thyroid_pipeline import contract
from thyroid_pipeline.plan_manifest import (
    Runtime,
    file_sha256,
    network_path,
    plan_path,
    read_record,
    record_path,
)

# What tests/export/test_engine_rtx.py runs on the shipped networks, option for option; and what
# wants a GPU: refused without one in tests/server/test_rtx_profile.py, and run on the profile `cpu`
# in tests/benchmarks/test_gpu_on_the_server.py. ResNet-18 in INT8 is served in
# tests/model_repository/test_int8_served.py.
RUN_ELSEWHERE = (
    "thyroid-export engine --runtime rtx --out appliance",
    "thyroid-serve --profile rtx",
    "thyroid-serve --model-repository int8",
    "python benchmarks/gpu/measure.py --profile rtx",
    "python benchmarks/gpu/measure.py --profile default --server localhost:8001",
)
# Installs by pip, and a builder that starts nowhere but on a GPU.
NOT_RUN = ("pip install", "thyroid-export engine --runtime tensorrt")


@pytest.fixture
def commands(checkout: Path) -> list[str]:
    text = (checkout / "docs" / "engines.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@needs_rtx
@pytest.mark.timeout(900)
def test_commands_run(
    commands: list[str],
    model_repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(
        model_repository, tmp_path / "model_repository", ignore=shutil.ignore_patterns("*.plan*")
    )
    monkeypatch.chdir(tmp_path)
    seen = []
    for command in commands:
        if command.startswith(NOT_RUN) or command in RUN_ELSEWHERE:
            continue
        words = shlex.split(command)
        seen.append(words[0])
        if words[0] == "thyroid-export":
            result = CliRunner().invoke(main, words[1:])
            assert result.exit_code == 0, f"{command}\n{result.output}"
            continue
        if words[0] == "cp":
            subprocess.run(words, check=True)
            continue
        assert words[:2] == ["python", "-m"], command
        done = subprocess.run(
            [sys.executable, *words[1:]],
            env={"PATH": "/nowhere"},  # where no GPU shows
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, f"{command}\n{done.stdout}"
        assert "this machine shows no NVIDIA GPU" in done.stderr
    export = "thyroid-export"
    assert seen == [export, export, export, export, "cp", export, "python"]
    # The later plan of ResNet-18 takes the place of the one in half precision.
    for name, folder, precision in (
        (contract.TRANSUNET.name, "half", "fp32+fp16"),
        (contract.RESNET18.name, "symmetric", "fp32+int8"),
    ):
        plan = plan_path(tmp_path / "appliance", name, Runtime.RTX)
        record = read_record(record_path(plan))
        assert record.precision == precision
        assert record.onnx_sha256 == file_sha256(network_path(tmp_path / folder, name))
        served = network_path(tmp_path / "model_repository", name)
        assert record.made_of_sha256 == file_sha256(served)
    made = network_path(tmp_path / "int8", contract.RESNET18.name)
    assert json.loads(made.with_name("model.onnx.json").read_text())["precision"] == "int8"


def test_what_is_not_run_is_there(commands: list[str]) -> None:
    assert set(RUN_ELSEWHERE) <= set(commands)
    assert all(any(command.startswith(start) for command in commands) for start in NOT_RUN)
