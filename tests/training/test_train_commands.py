"""`thyroid-train` as it is typed: what it writes, and how it says no."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from small_recipes import SMALL_RECIPE, make_small, write_recipe
from small_sets import BUSI_ROWS, DDTI_ROWS, HEIGHT_PX, WIDTH_PX, write_sets
from thyroid_training.cli import main

COMMANDS = ("classification", "cross-validate", "curve", "final", "phantoms", "segmentation")
FITTING = tuple(name for name in COMMANDS if name != "phantoms")

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
    assert "Traceback" not in result.output
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sets(tmp_path_factory.mktemp("commands") / "data")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(tmp_path / "recipe.toml")


def test_help_and_phantoms_need_no_torch(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert tuple(answer.stdout.split()) == COMMANDS
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


# --- what every fitting command wants


@pytest.mark.parametrize("command", FITTING)
def test_a_folder_without_sets_is_refused(tmp_path: Path, recipe: Path, command: str) -> None:
    out = tmp_path / "runs"
    code, output = run(command, "--data", tmp_path, "--out", out, "--recipe", recipe)
    assert code == 1
    assert re.search(r"^Error: .*ddti.manifest\.csv does not exist", output)
    assert "the folder of the DDTI set was wanted, with manifest.csv, images and masks" in output
    assert "give its path" in output
    assert not out.exists()


@pytest.mark.parametrize(
    ("command", "option"),
    [
        *((command, option) for command in FITTING for option in ("--data", "--recipe")),
        *((command, "--resnet18-weights") for command in FITTING if command != "curve"),
        ("curve", "--stages"),
    ],
)
def test_a_path_that_is_not_there_is_wrong_usage(
    tmp_path: Path, recipe: Path, command: str, option: str
) -> None:
    nowhere = tmp_path / "nowhere"
    options = {"--data": tmp_path, "--out": tmp_path / "runs", "--recipe": recipe, option: nowhere}
    code, output = run(command, *(part for pair in options.items() for part in pair))
    assert code == 2
    assert f"Invalid value for '{option}'" in output
    assert "does not exist" in output


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("segmentation", "--fold", 5),
        ("segmentation", "--fold", -1),
        ("classification", "--seed", -1),
        ("cross-validate", "--threads", 0),
        ("final", "--epochs", 3),
    ],
)
def test_wrong_usage_is_exit_code_2(
    tmp_path: Path, recipe: Path, command: str, option: str, value: object
) -> None:
    options = ("--data", tmp_path, "--out", tmp_path / "runs", "--recipe", recipe)
    code, output = run(command, *options, option, value)
    assert code == 2
    assert option in output


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("size = compact", "is no TOML file"),
        ('size = "compact"', "`segmentation` Field required"),
        (
            SMALL_RECIPE.replace("epochs = 1", "epoch = 1"),
            "`segmentation.fit.epochs` Field required",
        ),
        (
            SMALL_RECIPE.replace('"compact"', '"huge"'),
            "`size` Input should be 'compact' or 'paper'",
        ),
    ],
    ids=["no TOML", "stages missing", "a misspelt field", "an unknown size"],
)
def test_a_recipe_that_is_none_is_refused(
    tmp_path: Path, data: Path, text: str, fault: str
) -> None:
    recipe = write_recipe(tmp_path / "mine.toml", text)
    options = ("--data", data, "--out", tmp_path / "runs", "--recipe", recipe)
    code, output = run("cross-validate", *options)
    assert code == 1
    assert output.startswith(f"Error: {recipe} is no ")
    assert fault in output
    assert not (tmp_path / "runs").exists()


def test_too_few_images_for_the_folds_are_refused(tmp_path: Path, recipe: Path) -> None:
    few = write_sets(tmp_path / "few", DDTI_ROWS[:4], BUSI_ROWS[:1])
    code, output = run(
        "cross-validate", "--data", few, "--out", tmp_path / "runs", "--recipe", recipe
    )
    assert code == 1
    assert "Error: 4 samples in 4 groups cannot be split into 5 folds" in output
    assert "at least 5 groups, and 5 samples of one class, were wanted: give more samples" in output


def test_an_outline_of_another_size_is_refused(tmp_path: Path, recipe: Path) -> None:
    data = write_sets(tmp_path / "data", DDTI_ROWS[:2], BUSI_ROWS[:1])
    small = cv2.imencode(".png", np.zeros((HEIGHT_PX // 2, WIDTH_PX), np.uint8))[1].tobytes()
    (data / "ddti" / "masks" / "1_1.png").write_bytes(small)
    code, output = run(
        "segmentation", "--data", data, "--out", tmp_path / "runs", "--recipe", recipe
    )
    assert code == 1
    assert f"Error: the outline of 1_1 is {WIDTH_PX} x {HEIGHT_PX // 2} pixels, its image" in output
    assert "the same size was wanted, draw it on the image as it is" in output


def test_final_wants_the_report_first(tmp_path: Path, data: Path, recipe: Path) -> None:
    out = tmp_path / "runs"
    code, output = run("final", "--data", data, "--out", out, "--recipe", recipe)
    assert code == 1
    assert f"Error: {out / 'report' / 'cross_validation.json'} does not exist" in output
    assert "the report of `thyroid-train cross-validate` was wanted" in output
    assert "run that first" in output
    assert not out.exists(), "something was fitted before"


def test_runs_of_another_recipe_are_not_taken(
    tmp_path: Path, data: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch)
    out = tmp_path / "runs"
    options = ("--data", data, "--out", out)
    assert run("segmentation", *options, "--recipe", recipe, "--fold", 0) == (0, "")
    longer = SMALL_RECIPE.replace("phantoms = 1", "phantoms = 3")
    other = write_recipe(tmp_path / "other.toml", longer)
    code, output = run("segmentation", *options, "--recipe", other, "--fold", 0)
    assert code == 1
    record = out / "fold_0" / "segmentation" / "run.json"
    assert f"Error: {record} is of another run: it differs in data" in output
    assert "give another folder, or remove this one to fit anew" in output


def test_a_missing_extra_is_named(
    tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # how Python marks what cannot be imported
    options = ("--data", tmp_path, "--out", tmp_path / "runs", "--recipe", recipe)
    code, output = run("cross-validate", *options)
    assert code == 1
    assert "torch is not installed, which this command needs" in output
    assert "thyroid-triton[training]" in output
