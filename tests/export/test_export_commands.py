"""`thyroid-export` as it is typed: what it needs, and how it says no."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from thyroid_export.cli import main

# Every command's help, and the check of the configs, in a process of its own without torch.
WITHOUT_TORCH = """
import sys
from click.testing import CliRunner
from thyroid_export.cli import main

for arguments in ([], *([name] for name in main.commands)):
    result = CliRunner().invoke(main, [*arguments, "--help"])
    assert result.exit_code == 0, (arguments, result.output)
    assert "Usage:" in result.output
result = CliRunner().invoke(main, ["repository", "--model-repository", sys.argv[1]])
assert result.exit_code == 0, result.output
assert "torch" not in sys.modules
assert "onnx" not in sys.modules
print(*sorted(main.commands))
"""


def test_help_and_configs_need_no_torch(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == ["engine", "forest", "onnx", "parity", "repository"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["onnx"],
        ["onnx", "--run", "nowhere"],
        ["forest"],
        ["forest", "--run", "nowhere"],
        ["parity", "--count", "1"],
        ["parity", "--seed", "-1"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.output


@pytest.mark.parametrize(
    ("command", "package", "modules"),
    [
        ("onnx", "onnx", ["export_onnx"]),
        ("forest", "skl2onnx", ["export_forest", "forest_graph"]),
    ],
)
def test_a_missing_extra_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    package: str,
    modules: list[str],
) -> None:
    # As Python marks what cannot be imported; what was imported before must be asked for anew.
    monkeypatch.setitem(sys.modules, package, None)
    for name in modules:
        monkeypatch.delitem(sys.modules, f"thyroid_export.{name}", raising=False)
    result = CliRunner().invoke(main, [command, "--run", str(tmp_path)])
    assert result.exit_code == 1
    assert f"{package} is not installed, which this command needs" in result.output
    assert "thyroid-triton[export]" in result.output
