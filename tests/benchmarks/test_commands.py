"""What the commands say where there is nothing to measure."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from thyroid_benchmarks import cli
from thyroid_benchmarks.cli import main
from thyroid_benchmarks.cli_parts import Setting
from thyroid_benchmarks.estimates import Estimate
from thyroid_benchmarks.floor import Floor
from thyroid_benchmarks.kept import PARTS
from thyroid_benchmarks.knee import Knee
from thyroid_benchmarks.pool import write_pool
from thyroid_benchmarks.preparation import Images
from thyroid_benchmarks.references import REFERENCE_FILE, weights_digest


@pytest.fixture
def with_images(tmp_path: Path, model_repository: Path) -> Path:
    """A folder with one image and what counts as its right answers, so that none are computed."""
    folder = Images(tmp_path, 1, 1).pool_folder
    write_pool(folder, 1, 1)
    text = f'{{"weights": "{weights_digest(model_repository)}", "answers": {{}}}}'
    (folder / REFERENCE_FILE).write_text(text)
    return tmp_path


def test_a_server_that_is_not_there_is_named(with_images: Path) -> None:
    command = ["run", "single-stream", "--server", "127.0.0.1:9", "--out", str(with_images)]
    command += ["--images", "1", "--duration-s", "1", "--warmup-s", "0"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1
    assert "127.0.0.1:9 does not tell its statistics" in done.output
    assert "Traceback" not in done.output


def test_images_that_are_there_are_not_made_again(with_images: Path) -> None:
    folder = with_images / "pool-1-1"
    before = (folder / "00000.image").stat().st_mtime_ns
    done = CliRunner().invoke(main, ["prepare", "--out", str(with_images), "--images", "1"])
    assert done.exit_code == 0, done.output
    assert done.output.strip() == str(folder)
    assert (folder / "00000.image").stat().st_mtime_ns == before


def test_an_unknown_scenario_is_refused() -> None:
    done = CliRunner().invoke(main, ["run", "warp"])
    assert done.exit_code == 2
    assert "'single-stream'" in done.output


@pytest.mark.parametrize(("beside", "parts"), [([], set()), (["--beside", "there"], set(PARTS))])
def test_the_suite_measures_all_that_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, beside: list[str], parts: set[str]
) -> None:
    one = Estimate(10.0, 9.0, 11.0)
    written: list[dict[str, Any]] = []

    async def run_suite(*_: object) -> tuple[list[Any], Knee[Any]]:
        return [], Knee(1.0, None, "it was sure", ())

    monkeypatch.setattr(Setting, "pool", lambda *_: tmp_path)
    monkeypatch.setattr(Setting, "serving", lambda _: contextlib.nullcontext("127.0.0.1:9"))
    monkeypatch.setattr(Setting, "subject", lambda *_: None)
    monkeypatch.setattr(Setting, "write", lambda *_, **given: written.append(given))
    monkeypatch.setattr(cli, "floor_in_a_process", lambda *_: Floor(2, one, one, one, one, one, {}))
    monkeypatch.setattr(cli, "run_suite", run_suite)
    monkeypatch.setattr(cli, "measured_cross_check", lambda *_: ({}, []))
    monkeypatch.setattr(cli, "measured_peers", lambda *_: ({}, []))
    monkeypatch.setattr(cli, "measured_layouts", lambda *_: ({}, [], None))
    done = CliRunner().invoke(main, ["suite", "--short", *beside])
    assert done.exit_code == 0, done.output
    assert [set(given["parts"]) for given in written] == [parts]
