"""The peers without their packages: environments, processes, and that none is left."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from thyroid_benchmarks.peer_contestants import Numbers, layout_numbers
from thyroid_benchmarks.peer_environment import (
    PeerUnavailableError,
    make_environment,
    run_command,
    tidy,
)
from thyroid_benchmarks.peer_list import BATCH, NAMES, PEERS
from thyroid_benchmarks.peer_process import serving
from thyroid_benchmarks.peers import entry
from thyroid_benchmarks.peers.settings import MARKER, PeerSettings
from thyroid_pipeline import contract

# A server that starts a process of a session of its own, and tells of both.
STUBBORN = """
import os, signal, socket, subprocess, sys, time
from pathlib import Path
from thyroid_benchmarks.peers.settings import PeerSettings

def main():
    settings = PeerSettings.from_environment()
    if "DEAF" in os.environ:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                             start_new_session=True)
    Path(os.environ["TOLD"]).write_text(f"{os.getpid()} {child.pid} {settings.scratch}")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", settings.port))
        listening.listen()
        time.sleep(600)
"""


class Recorder:
    """Notes commands and does what they would have done."""

    def __init__(self, failing: str = "") -> None:
        self.commands: list[list[str]] = []
        self.failing = failing

    def __call__(self, command: Sequence[str]) -> None:
        self.commands.append(list(command))
        if self.failing and self.failing in command:
            raise PeerUnavailableError("no such package")
        if "venv" in command:
            (Path(command[-1]) / "lib" / "python3.11" / "site-packages").mkdir(parents=True)


def test_an_environment_is_made_once_and_holds_the_pipeline_by_path(
    tmp_path: Path, checkout: Path
) -> None:
    made = Recorder()
    python = make_environment(tmp_path, "fastapi", ["fastapi>=0.115"], made)
    assert [command[2] for command in made.commands[:2]] == ["venv", "pip"]
    assert "fastapi>=0.115" in made.commands[1]
    assert any(part.startswith("onnxruntime==") for part in made.commands[1])
    (paths,) = python.parents[1].rglob("thyroid.pth")
    assert str(checkout / "pipeline") in paths.read_text().splitlines()
    again = Recorder()
    assert make_environment(tmp_path, "fastapi", ["fastapi>=0.115"], again) == python
    assert again.commands == []
    assert make_environment(tmp_path, "fastapi", ["fastapi>=0.116"], again) != python


def test_an_environment_cut_short_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(PeerUnavailableError, match="no such package"):
        make_environment(tmp_path, "ray", ["ray"], Recorder(failing="ray"))
    again = Recorder()
    make_environment(tmp_path, "ray", ["ray"], again)
    assert len(again.commands) == 3


def test_a_failed_command_is_told_without_places(tmp_path: Path) -> None:
    code = "import sys; print('ERROR: no https://mirror.test/x in /home/me/cache'); sys.exit(3)"
    with pytest.raises(PeerUnavailableError) as caught:
        run_command([sys.executable, "-c", code])
    text = str(caught.value)
    assert "exit code 3" in text
    assert "no (address) in (path)" in text
    with pytest.raises(PeerUnavailableError):
        run_command([str(tmp_path / "nothing")])


def test_messages_are_tidied() -> None:
    told = tidy("see http://a.b:80/c and /home/me/y.py, host='reg.example', 3/4 done")
    assert told == "see (address) and (path), host=(name), 3/4 done"
    assert len(tidy("x" * 5000)) < 700


def test_every_peer_says_what_it_is_tuned_to_and_pins_its_packages() -> None:
    assert len(NAMES) == len(set(NAMES)) == 5
    for peer in PEERS:
        assert len(peer.tuned) > 50
        # The major version is bounded, so that a new one is taken on purpose.
        assert re.search(r">=[\d.]+,<\d", peer.requirements[0]), peer
        assert all(re.fullmatch(r"[a-z-]+", package) for package in peer.packages)


def test_layouts_share_out_the_cores() -> None:
    assert layout_numbers("throughput", 4) == Numbers(at_once=4, threads=1, batch=1)
    assert layout_numbers("latency", 4) == Numbers(at_once=4, threads=4, batch=1)
    assert layout_numbers("batched", 4) == Numbers(at_once=4, threads=1, batch=BATCH)
    # What is tried must gather batches where the peer can.
    assert [peer.name for peer in PEERS if "batched" not in peer.layouts] == ["fastapi"]


def test_no_process_is_left_of_a_server_that_will_not_end(tmp_path: Path, checkout: Path) -> None:
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    told = tmp_path / "told"
    with serving(
        Path(sys.executable),
        "stubborn",
        model_repository=tmp_path,
        at_once=1,
        threads=1,
        batch=1,
        cropper=contract.CropperParameters(),
        extra={
            "PYTHONPATH": f"{checkout / 'benchmarks'}:{tmp_path}",
            "TOLD": str(told),
            "DEAF": "",
        },
        term_s=0.2,
    ) as process:
        process.check()
        own, child, scratch = told.read_text().split()
        assert Path(f"/proc/{own}").exists()
        assert Path(f"/proc/{child}").exists()
        assert Path(scratch).is_dir()
    assert has_ended(own)
    assert has_ended(child)
    assert not Path(scratch).exists()


def test_no_process_is_left_when_the_benchmark_is_killed(tmp_path: Path, checkout: Path) -> None:
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    told, scratch = tmp_path / "told", tmp_path / "scratch"
    scratch.mkdir()
    settings = PeerSettings(str(tmp_path), 0, 1, 1, 1, {}, str(scratch))
    environment = {
        **os.environ,
        **settings.environment(),
        MARKER: "0123",
        "PYTHONPATH": f"{checkout / 'benchmarks'}:{tmp_path}",
        "TOLD": str(told),
    }
    command = [sys.executable, "-m", entry.__name__, "stubborn"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) as process:
        while not (told.exists() and told.read_text().endswith("scratch")):
            assert process.poll() is None
            time.sleep(0.05)
        own, child, _ = told.read_text().split()
        assert not has_ended(child)
        assert process.stdin is not None
        process.stdin.close()  # as the system does for whoever is killed
        process.wait(60)
    assert has_ended(own)
    assert has_ended(child)
    assert not scratch.exists()


def has_ended(pid: str) -> bool:
    """Whether a process runs no more; until whoever has adopted it reaps it, it is a zombie."""
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().split()[2] == "Z"


def test_a_server_that_dies_is_told_with_its_last_words(tmp_path: Path, checkout: Path) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit('no such network')\n")
    opened = serving(
        Path(sys.executable),
        "broken",
        model_repository=tmp_path,
        at_once=1,
        threads=1,
        batch=1,
        cropper=contract.CropperParameters(),
        extra={"PYTHONPATH": f"{checkout / 'benchmarks'}:{tmp_path}"},
    )
    with pytest.raises(PeerUnavailableError, match="exit code 1; it said: no such network"):
        opened.__enter__()


def test_settings_travel_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = PeerSettings("models", 8000, 2, 1, 4, {"threshold": 0.5}, "scratch")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert PeerSettings.from_environment() == settings
