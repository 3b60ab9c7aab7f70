"""Servers as processes: how to start one apart, and what one leaves behind."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from thyroid_server.embedded import ServerSettings

DEADLINE_S = 60.0


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], bool], str], None]:
    """Waits for a condition, and fails if it does not come."""

    def wait(condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited {DEADLINE_S} s in vain until {what}"
            time.sleep(0.02)

    return wait


@pytest.fixture
def python_model(tmp_path: Path) -> Callable[..., ServerSettings]:
    """Settings for one Python model with the given `initialize`, killed rather than stopped."""

    def write(initialize: str, **options: Any) -> ServerSettings:
        model = tmp_path / "models" / "lone"
        (model / "1").mkdir(parents=True)
        (model / "config.pbtxt").write_text(
            'name: "lone" backend: "python" instance_group { count: 1 kind: KIND_CPU }'
            'input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] }'
            'output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] }'
        )
        (model / "1" / "model.py").write_text(
            "class TritonPythonModel:\n"
            f"    def initialize(self, args):\n        {initialize}\n"
            "    def execute(self, requests):\n        return []\n"
        )
        return ServerSettings(model.parent, **({"stop_timeout_s": 0.0} | options))

    return write


class Traces:
    """Everything that one running server has on this machine."""

    def __init__(self, server_pid: int) -> None:
        """Look at a server while it runs."""
        server = psutil.Process(server_pid)
        guardian = server.parent()
        assert guardian is not None
        self.guardian = guardian
        self.server = server
        self.stubs = [
            child
            for child in server.children(recursive=True)
            if "triton_python_backend_stub" in child.cmdline()[0]
        ]
        command = " ".join(server.cmdline())
        prefix = re.search(r"shm-region-prefix-name=(thyroid_\w+)", command)
        models = re.search(r"--model-repository=(\S+)/models", command)
        assert prefix, command
        assert models, command
        self.shm_prefix = prefix[1]
        self.workspace = Path(models[1])
        assert self.left(), "a running server must have traces, or this could not find any"

    def left(self) -> list[str]:
        """What of it is still there."""
        processes = [self.guardian, self.server, *self.stubs]
        left = [f"process {process.pid}" for process in processes if process.is_running()]
        left += [str(path) for path in Path("/dev/shm").glob(f"{self.shm_prefix}*")]
        return left + [str(path) for path in [self.workspace] if path.exists()]


@pytest.fixture
def traces_of() -> Callable[[int], Traces]:
    return Traces


@pytest.fixture
def find_server() -> Callable[[int], int]:
    """Takes the process id of an owner of one server; returns the server's."""

    def find(owner_pid: int) -> int:
        children = psutil.Process(owner_pid).children(recursive=True)
        (server,) = [child for child in children if child.name() == "tritonserver"]
        return int(server.pid)

    return find


@pytest.fixture
def nothing_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Whatever the test starts in this process must leave no trace when the test ends."""
    token = secrets.token_hex(8)
    monkeypatch.setattr("thyroid_server.embedded.secrets.token_hex", lambda _: token)
    folder = tmp_path_factory.mktemp("tmp")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) <= before
    assert not list(Path("/dev/shm").glob(f"*{token}*"))
    assert not list(folder.iterdir())


class Cli:
    """A `thyroid-serve` in a process of its own."""

    def __init__(self, arguments: list[str], **options: Any) -> None:
        self.process = subprocess.Popen(
            [str(Path(sys.executable).parent / "thyroid-serve"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def addresses(self) -> dict[str, str]:
        """The lines it prints once it is ready, as name: address."""
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in range(3)]
        if not all(lines):
            pytest.fail(f"thyroid-serve did not start: {self.process.communicate()[1]}")
        return dict(line.split() for line in lines)

    def finish(self) -> tuple[int, str]:
        """Wait for its end; returns the exit code and what it wrote to stderr."""
        _, messages = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, messages


@pytest.fixture
def cli() -> Iterator[Callable[..., Cli]]:
    started: list[Cli] = []

    def start(*arguments: str, **options: Any) -> Cli:
        started.append(Cli(list(arguments), **options))
        return started[-1]

    yield start
    for cli in started:
        if cli.process.poll() is None:
            cli.process.kill()
        cli.process.communicate(timeout=DEADLINE_S)
