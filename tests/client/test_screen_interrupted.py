"""`thyroid-screen` that is interrupted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from click.testing import CliRunner

from thyroid_client._output import OutputFolder
from thyroid_client.cli import main
from thyroid_client.report import Report
from thyroid_client.run import Totals

Start = Callable[..., Any]


def lines_of(out: Path) -> list[dict[str, Any]]:
    text = (out / "results.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def interruptible() -> Any:
    """Whatever started the tests may ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    "step",
    [
        (OutputFolder, "write_mask"),
        (OutputFolder, "write_overlays"),
        (OutputFolder, "write_line"),
        (Report, "add"),
        (Totals, "count"),
    ],
)
def test_ctrl_c_while_a_result_is_written_lets_it_be_written(
    step: tuple[type, str],
    images: Path,
    screener: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = getattr(*step)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return original(*args, **kwargs)

    monkeypatch.setattr(*step, interrupted)
    out = tmp_path / "out"
    command = [str(images / "left"), str(images / "right"), "--out", str(out)]
    done = CliRunner().invoke(main, [*command, "--server", screener.address])
    assert done.exit_code == 130, done.output
    assert re.search(r"^interrupted +what was done", done.stdout, re.MULTILINE)
    assert re.search(r"^  refer +1 ", done.stdout, re.MULTILINE)
    (line,) = lines_of(out)
    assert line["status"] == "ok"
    assert (out / line["mask_file"]).is_file()
    assert (out / line["overlay_file"]).is_file()
    assert "Interrupted after 1 of 2 images" in (out / "report.html").read_text()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_keeps_what_is_done(
    start_server: Start, tmp_path: Path, fake: SimpleNamespace
) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for index in range(12):
        (images / f"{index:02d}.png").write_bytes(fake.png(fake.grey_image(index)))
    running = start_server(stall=True)
    stall = running.servicer.behaviour

    def behave(image: bytes, context: grpc.ServicerContext, before: int) -> Any:
        return fake.response(fake.NODULE) if before < 3 else stall(image, context, before)

    running.servicer.behaviour = behave
    # Whatever started the tests may ignore interrupts, and a child would inherit that.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", heed + "from thyroid_client.cli import main; main()"]
    options = ["--out", str(out), "--server", running.address, "--in-flight", "4"]
    process = subprocess.Popen(
        [*command, str(images), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    results = out / "results.jsonl"
    while not results.exists() or results.read_text().count("\n") < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert stderr == ""
    assert re.search(r"^interrupted +what was done until then is kept$", stdout, re.MULTILINE)
    assert [line["status"] for line in lines_of(out)] == ["ok"] * 3
    assert "Interrupted after 3 of 12 images" in (out / "report.html").read_text()
    assert sorted(path.name for path in out.iterdir()) == [
        "masks",
        "overlays",
        "report.html",
        "results.jsonl",
    ]
    assert running.servicer.cancelled.wait(30)
