"""`thyroid-train` as it is typed: what it writes, and how it says no."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from thyroid_training.cli import main
from thyroid_training.runs import Run
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import SIZES, TransUNetConfig

# Every command's help, and phantoms, in a process of its own: none of it may need torch.
WITHOUT_TORCH = """
import sys
from pathlib import Path
from click.testing import CliRunner
from thyroid_training.cli import main

for arguments in ([], *([name] for name in main.commands)):
    result = CliRunner().invoke(main, [*arguments, "--help"])
    assert result.exit_code == 0, (arguments, result.output)
    assert "Usage:" in result.output
arguments = ["phantoms", "--out", sys.argv[1], "--count", "1", "--no-nodule", "0"]
assert CliRunner().invoke(main, arguments).exit_code == 0
assert "torch" not in sys.modules
assert "sklearn" not in sys.modules
print(*sorted(main.commands))
"""


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_help_and_phantoms_need_no_torch(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == ["classification", "evaluate", "phantoms", "segmentation"]
    assert (tmp_path / "images" / "phantom_00.png").is_file()


def test_phantoms_are_written_with_their_truth(tmp_path: Path) -> None:
    out = tmp_path / "made here"
    code, output = run("phantoms", "--out", out, "--count", 3, "--no-nodule", 1, "--seed", 4)
    assert (code, output) == (0, f"wrote 3 phantoms into {out}\n")
    assert len(list((out / "images").iterdir())) == 3
    truth = json.loads((out / "truth" / "traits.json").read_text())
    assert sorted(traits["nodule"] for traits in truth.values()) == [False, True, True]


def test_more_frames_without_a_nodule_than_frames_are_refused(tmp_path: Path) -> None:
    code, output = run("phantoms", "--out", tmp_path / "p", "--count", 1, "--no-nodule", 2)
    assert code == 1
    assert "Error: `no_nodule` is 2, wanted 0 to 1" in output
    assert "Traceback" not in output


def test_a_folder_that_is_no_set_is_refused(tmp_path: Path) -> None:
    code, output = run("segmentation", "--data", tmp_path, "--out", tmp_path / "run")
    assert code == 1
    assert "manifest.csv does not exist" in output
    assert "--data" in output
    assert not (tmp_path / "run").exists()


def test_weights_that_have_seen_the_held_out_images_are_refused(
    ddti_folder: Path,
    tmp_path: Path,
    tiny_config: TransUNetConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SIZES, "compact", tiny_config)
    Run(tmp_path / "first").save(TransUNet(tiny_config), {"data": {"held_out_fold": 1}})
    code, output = run(
        *("segmentation", "--data", ddti_folder, "--out", tmp_path / "second", "--fold", 0),
        *("--initial", tmp_path / "first", "--phantoms", 0),
    )
    assert code == 1
    assert "the initial run held out fold 1, fold 0 was wanted" in output
    assert not (tmp_path / "second").exists()


def test_a_file_that_is_no_network_is_refused(ddti_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"none")
    code, output = run(
        *("classification", "--data", ddti_folder, "--out", tmp_path / "run"),
        *("--segmentation", tmp_path / "model.onnx"),
    )
    assert code == 1
    assert "no ONNX file" in output


def test_a_repository_without_networks_is_refused(ddti_folder: Path, tmp_path: Path) -> None:
    code, output = run(
        *("evaluate", "--data", ddti_folder, "--out", tmp_path / "figures.json"),
        *("--model-repository", tmp_path),
    )
    assert code == 1
    assert "model.onnx does not exist" in output


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--fold", 5),
        ("--epochs", 0),
        ("--seed", -1),
        ("--size", "huge"),
        ("--threads", 0),
        ("--phantoms", -1),
        ("--learning-rate", 0),
        ("--initial", "nowhere"),
    ],
)
def test_wrong_usage_is_exit_code_2(tmp_path: Path, option: str, value: object) -> None:
    code, output = run("segmentation", "--data", tmp_path, "--out", tmp_path, option, value)
    assert code == 2
    assert option in output


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # how Python marks what cannot be imported
    arguments = ["segmentation", "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "torch is not installed, which this command needs" in result.output
    assert "thyroid-triton[training]" in result.output
