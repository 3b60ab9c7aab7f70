"""The CPU image's own steps, word for word, in a clean virtual environment, not a container."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.server]

START_TIMEOUT_S = 300


def copy_context(checkout: Path, docker: Path, source: Path) -> None:
    """What `COPY . .` copies, by the list that Docker goes by."""
    for line in (docker / "Dockerfile.dockerignore").read_text().splitlines():
        if line.startswith("!"):
            wanted, copy = checkout / line[1:], source / line[1:]
            copy.parent.mkdir(parents=True, exist_ok=True)
            if wanted.is_dir():
                shutil.copytree(wanted, copy, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(wanted, copy)


@pytest.mark.timeout(900)
def test_the_steps_make_a_server_that_screens(
    checkout: Path, docker: Path, stages: dict[str, Any], model_repository: Path, tmp_path: Path
) -> None:
    build, image = stages["cpu-build"], stages["cpu"]
    assert build.all("COPY") == [". ."]
    venv, source = tmp_path / "venv", tmp_path / "src"
    copy_context(checkout, docker, source)
    # The image's own Python, by the name that the steps call it.
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python").symlink_to(getattr(sys, "_base_executable", sys.executable))
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    steps = [step.replace("/opt/venv", str(venv)) for step in build.all("RUN")]
    assert steps
    for step in steps:
        done = subprocess.run(
            ["sh", "-ec", step],
            cwd=source,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
    shutil.rmtree(source)

    places = {"/opt/venv": str(venv), "/opt/thyroid": str(docker), "/models": str(model_repository)}

    def here(words: list[str]) -> list[str]:
        for place, instead in places.items():
            words = [word.replace(place, instead) for word in words]
        return words

    command = here(json.loads(image.all("CMD")[-1]))
    (check,) = image.all("HEALTHCHECK")
    check_command = here(json.loads(check[check.index("[") :]))
    # This machine's loopback address and free ports, where a container has all of its own.
    command[command.index("0.0.0.0")] = "127.0.0.1"
    command += ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    command += ["--start-timeout-s", str(START_TIMEOUT_S)]
    environment["PATH"] = f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        [str(venv / "bin" / command[0]), *command[1:]],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"gRPC +(\S+)", server.stdout.readline())
            assert found, "the server did not start"
            checked = subprocess.run(
                [str(venv / "bin" / check_command[0]), *check_command[1:], found[1]],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert checked.returncode == 0, checked.stdout + checked.stderr
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
