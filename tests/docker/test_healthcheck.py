"""The images' health check, on the real server and on none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from thyroid_server.embedded import EmbeddedTriton


def check_health(docker: Path, address: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(docker / "healthcheck.py"), address],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.server
def test_a_server_that_screens_is_healthy(docker: Path, server: EmbeddedTriton) -> None:
    done = check_health(docker, server.grpc_address)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def test_a_server_that_is_not_there_is_not(docker: Path) -> None:
    done = check_health(docker, "127.0.0.1:1")
    assert done.returncode == 1
    assert "did not go through thyroid_screening at 127.0.0.1:1" in done.stdout


def test_the_images_check_by_it(stages: dict[str, Any]) -> None:
    for name in ("cpu", "gpu"):
        (check,) = stages[name].all("HEALTHCHECK")
        command = json.loads(check[check.index("[") :])
        assert command == ["python3", "/opt/thyroid/healthcheck.py"]
        assert any(
            copy.startswith("--chmod=0444 docker/healthcheck.py") and "/opt/thyroid/" in copy
            for copy in stages[name].all("COPY")
        )
