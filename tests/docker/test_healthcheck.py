"""The images' health check, on the real server and on none; and the GPU image's start."""

from __future__ import annotations

import json
import os
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


def start_gpu_image(docker: Path, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run `serve_gpu.main` where `tritonserver` is a script that prints its arguments."""
    triton = folder / "tritonserver"
    triton.write_text('#!/bin/sh\nprintf "%s\\n" "$@"; echo "key=$THYROID_ADMIN_KEY"\n')
    triton.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    program = f"import sys; sys.path.insert(0, {str(docker)!r}); import serve_gpu; {code}"
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PATH": path, "THYROID_ADMIN_KEY": "sesame"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_gpu_image_starts_triton_with_our_command(docker: Path, tmp_path: Path) -> None:
    code = "serve_gpu.check_served_plans = lambda repository, profile: None; serve_gpu.main()"
    done = start_gpu_image(docker, tmp_path, code)
    assert done.returncode == 0, done.stderr
    arguments = done.stdout.splitlines()
    assert {"--model-repository=/models", "--grpc-address=0.0.0.0", "--grpc-port=8001"} <= set(
        arguments
    )
    assert any(line.endswith(":admin-key=sesame") for line in arguments)
    assert not any(line.startswith("--model-config-name") for line in arguments)
    assert arguments[-1] == "key="


def test_the_gpu_image_does_not_start_without_plans(
    docker: Path, tmp_path: Path, model_repository: Path
) -> None:
    code = f"from pathlib import Path; serve_gpu.main(Path({str(model_repository)!r}))"
    done = start_gpu_image(docker, tmp_path, code)
    assert done.returncode == 2
    assert done.stderr.startswith("serve_gpu: ")
    assert not done.stdout
