"""What the commands say where there is nothing to measure."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from thyroid_benchmarks import suite_command
from thyroid_benchmarks.cli import main
from thyroid_benchmarks.cli_parts import Served, Setting
from thyroid_benchmarks.estimates import Estimate
from thyroid_benchmarks.floor import Floor
from thyroid_benchmarks.kept import PARTS
from thyroid_benchmarks.knee import Knee
from thyroid_benchmarks.measure import Subject
from thyroid_benchmarks.pool import Pool, write_pool
from thyroid_benchmarks.preparation import Images
from thyroid_benchmarks.references import REFERENCE_FILE, weights_digest
from thyroid_benchmarks.verdict import Rules


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


@dataclass
class Suite:
    """The command `suite` with everything that measures replaced.

    Attributes:
        written: What was handed over to be written, each time.
        fails: The part that is interrupted; None where none is.
    """

    written: list[dict[str, Any]] = field(default_factory=list)
    fails: str | None = None

    def write(self, *_: object, parts: dict[str, Any], **given: Any) -> None:
        self.written.append({**given, "parts": set(parts)})

    def part(self, name: str, *more: object) -> Any:
        if name == self.fails:
            raise KeyboardInterrupt
        return {}, [], *more


@pytest.fixture
def measured_suite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Suite:
    one = Estimate(10.0, 9.0, 11.0)
    made = Suite()

    async def run_suite(_plan: object, _subject: object, _say: object, save: Any) -> Any:
        save([], None)
        return [], Knee(1.0, None, "it was sure", ())

    served = contextlib.nullcontext(Served("127.0.0.1:9", "127.0.0.1:10"))
    subject = Subject("", Pool((), (), 1), None, None, Rules(), 1)
    floor = Floor(one, one, one, one, cores=2, gain=one, network_ms={})
    monkeypatch.setattr(Setting, "pool", lambda *_: tmp_path)
    monkeypatch.setattr(Setting, "serving", lambda _: served)
    monkeypatch.setattr(Setting, "subject", lambda *_: subject)
    monkeypatch.setattr(Setting, "write", made.write)
    monkeypatch.setattr(suite_command, "floor_in_a_process", lambda *_: floor)
    monkeypatch.setattr(suite_command, "run_suite", run_suite)
    monkeypatch.setattr(suite_command, "measured_cross_check", lambda *_: made.part("cross_check"))
    monkeypatch.setattr(suite_command, "measured_peers", lambda *_: made.part("peers"))
    monkeypatch.setattr(suite_command, "measured_tutorial", lambda *_: made.part("peers"))
    monkeypatch.setattr(suite_command, "measured_layouts", lambda *_: made.part("layouts", None))
    return made


@pytest.mark.parametrize(
    ("beside", "parts"), [([], {"peers"}), (["--beside", "there"], set(PARTS))]
)
def test_the_suite_measures_all_that_is_kept(
    measured_suite: Suite, beside: list[str], parts: set[str]
) -> None:
    done = CliRunner().invoke(main, ["suite", "--short", *beside])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("plan     ")
    assert measured_suite.written[-1]["parts"] == parts
    assert measured_suite.written[-1]["page"] is True


@pytest.mark.parametrize(
    ("fails", "parts"),
    [("cross_check", set()), ("peers", {"cross_check"}), ("layouts", {"cross_check", "peers"})],
)
def test_what_was_measured_before_an_interruption_is_written(
    measured_suite: Suite, fails: str, parts: set[str]
) -> None:
    measured_suite.fails = fails
    done = CliRunner().invoke(main, ["suite", "--short", "--beside", "there"])
    assert done.exit_code != 0
    last = measured_suite.written[-1]
    assert last["parts"] == parts
    assert last["found"] == Knee(1.0, None, "it was sure", ())
    assert last["lowest"] is not None
