"""The command for a container: what it says, and what a shell makes of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from made_up_plans import NETWORKS, make_planned, write_plan
from thyroid_pipeline.plan_manifest import Runtime, plan_path, record_path
from thyroid_server.cli import main

KEY = 'it\'s $HOME; `x` "y"'.replace(" ", "_")


def printed(*arguments: str, key: str | None = None) -> str:
    result = CliRunner().invoke(
        main, [*arguments, "--print-command"], env={"THYROID_ADMIN_KEY": key}
    )
    assert result.exit_code == 0, result.output
    return result.output


def run_by_shell(text: str, folder: Path, key: str | None = None) -> tuple[int, list[str]]:
    """What a shell would start; returns its exit code and the arguments tritonserver gets."""
    folder.mkdir(exist_ok=True)
    server = folder / "tritonserver"
    server.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    server.chmod(0o755)
    environment = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    if key is not None:
        environment["THYROID_ADMIN_KEY"] = key
    run = subprocess.run(
        ["sh", "-c", text], env=environment, capture_output=True, text=True, check=False
    )
    return run.returncode, run.stdout.split("\0")[:-1]


def test_the_command_fits_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my models").mkdir()
    monkeypatch.chdir(tmp_path)
    text = printed("--model-repository", "my models", "--admin-key", KEY, "--log-level", "info")
    *comments, line = text.splitlines()
    assert all(comment.startswith("# ") for comment in comments)
    assert f"# mount '{tmp_path / 'my models'}' at /models" in comments
    assert any("install thyroid-triton[pipeline] into the Python" in c for c in comments)
    assert str(tmp_path) not in line
    code, arguments = run_by_shell(text, tmp_path / "bin")
    assert code == 0
    assert len(arguments) == len(set(arguments))
    assert set(arguments) >= {
        "--model-repository=/models",
        "--model-config-name=cpu",
        "--http-address=0.0.0.0",
        "--http-port=8000",
        "--grpc-address=0.0.0.0",
        "--grpc-port=8001",
        "--metrics-address=0.0.0.0",
        "--metrics-port=8002",
        "--log-info=true",
        f"--http-restricted-api=shared-memory,model-repository,logging,trace:admin-key={KEY}",
        f"--grpc-restricted-protocol=shared-memory,model-repository,logging,trace:admin-key={KEY}",
    }


def test_the_tls_files_are_mounted_too_and_http_stays_within(tmp_path: Path) -> None:
    names = ("server.pem", "server.key", "ca.pem")
    certificate, key, ca = (str(tmp_path / name) for name in names)
    text = printed(
        *("--model-repository", "/my models", "--profile", "default", "--admin-key", KEY),
        *("--tls-certificate", certificate, "--tls-key", key, "--tls-client-ca", ca),
    )
    assert f"# mount {certificate!r} at /tls/server.pem\n" in text
    assert f"# mount {key!r} at /tls/key.pem\n" in text
    assert f"# mount {ca!r} at /tls/client-ca.pem\n" in text
    _, arguments = run_by_shell(text, tmp_path / "bin")
    assert set(arguments) >= {
        "--grpc-address=0.0.0.0",
        "--http-address=127.0.0.1",
        "--grpc-use-ssl-mutual=true",
        "--grpc-server-cert=/tls/server.pem",
        "--grpc-server-key=/tls/key.pem",
        "--grpc-root-cert=/tls/client-ca.pem",
    }
    assert not any("model-config-name" in argument for argument in arguments)


def test_without_a_key_the_containers_shell_must_have_one(tmp_path: Path) -> None:
    text = printed("--model-repository", "/models")
    assert text == printed("--model-repository", "/models"), "nothing random in it"
    assert "# set THYROID_ADMIN_KEY in the container" in text
    code, arguments = run_by_shell(text, tmp_path / "bin")
    assert (code != 0, arguments) == (True, [])
    code, arguments = run_by_shell(text, tmp_path / "bin", KEY)
    assert code == 0
    protocols = "shared-memory,model-repository,logging,trace"
    assert arguments[-2:] == [
        f"--http-restricted-api={protocols}:admin-key={KEY}",
        f"--grpc-restricted-protocol={protocols}:admin-key={KEY}",
    ]


def test_the_key_may_come_by_the_environment() -> None:
    assert "admin-key=sesame" in printed("--model-repository", "/models", key="sesame")


def test_a_line_break_in_a_path_ends_no_comment(tmp_path: Path) -> None:
    text = printed("--model-repository", "/models\ntouch /tmp/x", "--admin-key", KEY)
    assert sum(not line.startswith("# ") for line in text.splitlines()) == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_a_version_compatible_plan_may_run_its_code(
    tmp_path: Path, model_repository: Path, name: str
) -> None:
    planned = make_planned(tmp_path / "models", model_repository)
    allowed = "--backend-config=tensorrt,version-compatible=true"
    repository = ("--model-repository", str(planned), "--admin-key", KEY)
    assert allowed not in printed(*repository, "--profile", "default")
    write_plan(planned, name, version_compatible=True)
    _, arguments = run_by_shell(printed(*repository, "--profile", "default"), tmp_path / "bin")
    assert allowed in arguments
    assert allowed not in printed(*repository, "--profile", "cpu")  # which serves no plan
    record = record_path(plan_path(planned, name, Runtime.TENSORRT))
    record.write_text("{")  # the check before the start speaks of it
    assert allowed not in printed(*repository, "--profile", "default")


@pytest.mark.parametrize("front", ["http", "grpc", "metrics"])
def test_any_free_port_is_refused(front: str) -> None:
    arguments = ["--model-repository", "/models", f"--{front}-port", "0", "--print-command"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert f"name one: --{front}-port" in result.output
    assert "tritonserver" not in result.output
