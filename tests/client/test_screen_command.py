"""`thyroid-screen` from the command line, against a server on loopback."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from thyroid_client.cli import main
from thyroid_client.overlay import OUTLINE_RGB

Start = Callable[..., Any]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def lines_of(out: Path) -> list[dict[str, Any]]:
    text = (out / "results.jsonl").read_text(encoding="utf-8")
    return sorted((json.loads(line) for line in text.splitlines()), key=lambda line: line["index"])


def files_in(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_a_run_with_a_bad_image_among_good_ones(
    images: Path, screener: Any, tmp_path: Path, fake: SimpleNamespace
) -> None:
    out = tmp_path / "out"
    done = run(images, "--out", out, "--server", screener.address)
    assert done.exit_code == 1, done.output
    lines = lines_of(out)
    assert [Path(line["source"]).relative_to(images).as_posix() for line in lines] == [
        "none.png",
        "text.png",
        "left/neck 1.png",
        "right/neck 1.png",
    ]
    assert [line["status"] for line in lines] == ["ok", "error", "ok", "ok"]
    assert [line["nodule_found"] for line in lines] == [False, None, True, True]
    assert lines[1]["error"] == {
        "kind": "ImageRejected",
        "message": "these bytes are no image: send one",
        "status": "INVALID_ARGUMENT",
        "attempts": 1,
    }
    assert files_in(out) == [
        "masks/0000_none.png",
        "masks/0002_neck_1.png",
        "masks/0003_neck_1.png",
        "overlays/0000_none.png",
        "overlays/0002_neck_1.png",
        "overlays/0002_neck_1_evidence.png",
        "overlays/0003_neck_1.png",
        "overlays/0003_neck_1_evidence.png",
        "report.html",
        "results.jsonl",
    ]
    named = {line[k] for line in lines for k in line if k.endswith("_file")} - {None}
    assert sorted(named) == [name for name in files_in(out) if name.endswith(".png")]
    mask = Image.open(out / lines[2]["mask_file"])
    assert mask.mode == "1"
    np.testing.assert_array_equal(np.asarray(mask), fake.box_mask())
    overlay = np.asarray(Image.open(out / lines[2]["overlay_file"]))
    assert (overlay == OUTLINE_RGB).all(axis=2).any()
    assert not np.asarray(Image.open(out / lines[0]["mask_file"])).any()


def test_the_summary(images: Path, screener: Any, tmp_path: Path) -> None:
    done = run(images, "--out", tmp_path / "out", "--server", screener.address)
    rows = [re.split(r"  +", line.strip(), maxsplit=1) for line in done.stdout.splitlines()]
    shown = dict(rows)
    assert list(shown) == [
        "images",
        "refer",
        "uncertain",
        "out of distribution",
        "routine",
        "no nodule",
        "failed",
        "time",
        "results",
        "report",
    ]
    assert shown["images"] == "4"
    assert shown["refer"] == "2  (to be followed up)"
    assert shown["uncertain"] == "0"
    assert shown["no nodule"] == "1"
    assert shown["failed"] == "1  (ImageRejected 1)"
    assert shown["report"] == str(tmp_path / "out" / "report.html")
    assert "neck" not in done.output  # names of files may be names of people
    assert done.stderr == ""  # no progress bar where nobody watches


def test_an_image_out_of_distribution(
    images: Path, start_server: Start, tmp_path: Path, fake: SimpleNamespace
) -> None:
    out = tmp_path / "out"
    running = start_server(fake.answering(fake.FOREIGN))
    done = run(images / "left", "--out", out, "--server", running.address)
    assert done.exit_code == 0, done.output
    assert re.search(r"^  out of distribution +1  \(not judged: ", done.stdout, re.MULTILINE)
    (line,) = lines_of(out)
    assert line["decision"] == "out_of_distribution"
    assert line["malignancy"] is line["evidence_file"] is None
    assert files_in(out) == [
        "masks/0000_neck_1.png",
        "overlays/0000_neck_1.png",
        "report.html",
        "results.jsonl",
    ]
    np.testing.assert_array_equal(np.asarray(Image.open(out / line["mask_file"])), fake.box_mask())
    overlay = np.asarray(Image.open(out / line["overlay_file"]))
    assert (overlay == OUTLINE_RGB).all(axis=2).any()


def test_all_screened(images: Path, screener: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(images / "left", images / "none.png", "--out", out, "--server", screener.address)
    assert done.exit_code == 0, done.output
    assert len(lines_of(out)) == 2


def test_quiet_and_without_a_report(images: Path, screener: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(
        images / "left", "--out", out, "--server", screener.address, "--quiet", "--no-report"
    )
    assert done.exit_code == 0
    assert done.output == ""
    assert "report.html" not in files_in(out)


def test_a_second_run_replaces_the_first_and_nothing_else(
    images: Path, screener: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(images, "--out", out, "--server", screener.address)
    (out / "notes.txt").write_text("keep me")
    (out / "masks" / "mine.png").write_text("keep me, too")
    done = run(images / "left", "--out", out, "--server", screener.address)
    assert done.exit_code == 0, done.output
    assert files_in(out) == [
        "masks/0000_neck_1.png",
        "masks/mine.png",
        "notes.txt",
        "overlays/0000_neck_1.png",
        "overlays/0000_neck_1_evidence.png",
        "report.html",
        "results.jsonl",
    ]


def test_results_within_the_images_are_not_screened_again(images: Path, screener: Any) -> None:
    out = images / "results"
    for _ in range(2):
        run(images, "--out", out, "--server", screener.address)
        assert len(lines_of(out)) == 4


def test_a_file_that_is_gone_when_it_is_drawn(
    images: Path, start_server: Start, tmp_path: Path, fake: SimpleNamespace
) -> None:
    path = images / "left" / "neck 1.png"

    def remove(image: bytes, context: grpc.ServicerContext, before: int) -> Any:
        path.unlink()
        return fake.response(fake.NODULE)

    out = tmp_path / "out"
    done = run(path, "--out", out, "--server", start_server(remove).address)
    assert done.exit_code == 0, done.output
    (line,) = lines_of(out)
    assert line["malignancy"] == 0.75
    assert line["mask_file"] is not None
    assert line["overlay_file"] is line["evidence_file"] is None


def test_a_file_that_is_another_when_it_is_drawn(
    images: Path, start_server: Start, tmp_path: Path, fake: SimpleNamespace
) -> None:
    path = images / "left" / "neck 1.png"

    def swap(image: bytes, context: grpc.ServicerContext, before: int) -> Any:
        path.write_bytes(fake.png(fake.grey_image(height=200)))
        return fake.response(fake.NODULE)

    out = tmp_path / "out"
    assert run(path, "--out", out, "--server", start_server(swap).address).exit_code == 0
    (line,) = lines_of(out)
    assert line["overlay_file"] is None
