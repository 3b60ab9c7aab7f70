"""`thyroid-serve` as its users meet it: a process, its output, its exit code, its traces."""

from __future__ import annotations

import shlex
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as triton
from click.testing import CliRunner

from thyroid_server.cli import main

ANY_PORTS = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")


@pytest.mark.server
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(
    cli: Any, lean_repository: Path, traces_of: Any, find_server: Any, number: signal.Signals
) -> None:
    serve = cli("--model-repository", str(lean_repository), *ANY_PORTS)
    addresses = serve.addresses()
    assert list(addresses) == ["gRPC", "HTTP", "metrics"]
    with triton.InferenceServerClient(addresses["gRPC"]) as client:
        assert client.is_server_ready()
    traces = traces_of(find_server(serve.process.pid))
    serve.process.send_signal(number)
    assert serve.finish() == (0, "Signal (15) received.\n")  # Triton's, to every end of its own
    assert traces.left() == []


@pytest.mark.server
def test_a_dead_server_ends_it_with_exit_code_1(
    cli: Any, lean_repository: Path, traces_of: Any, find_server: Any
) -> None:
    serve = cli("--model-repository", str(lean_repository), *ANY_PORTS)
    serve.addresses()
    traces = traces_of(find_server(serve.process.pid))
    traces.server.kill()
    code, message = serve.finish()
    assert (code, message.count("Traceback")) == (1, 0)
    assert "thyroid-serve: the server ended with exit code 137" in message
    assert traces.left() == []


@pytest.mark.server
def test_a_signal_while_it_starts_stops_it_cleanly(
    cli: Any, python_model: Any, tmp_path: Path, wait_until: Any
) -> None:
    mark = tmp_path / "loading"
    hanging = python_model(f"open({str(mark)!r}, 'w'); import time; time.sleep(1000)")
    serve = cli("--model-repository", str(hanging.model_repository), *ANY_PORTS)
    wait_until(mark.exists, "the model is loading")
    serve.process.send_signal(signal.SIGTERM)
    assert serve.finish() == (0, "")


@pytest.mark.server
def test_a_broken_model_ends_it_with_exit_code_1_and_the_models_words(
    cli: Any, python_model: Any
) -> None:
    broken = python_model("raise ValueError('the weights are from Mars')")
    serve = cli("--model-repository", str(broken.model_repository), *ANY_PORTS)
    code, message = serve.finish()
    assert (code, message.count("Traceback")) == (1, 0)
    assert "the weights are from Mars" in message.partition("thyroid-serve: ")[2]


def test_a_taken_port_ends_it_with_exit_code_2_and_no_traceback(
    cli: Any, lean_repository: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        serve = cli("--model-repository", str(lean_repository), *ANY_PORTS, "--grpc-port", port)
        code, message = serve.finish()
    assert code == 2
    assert message.startswith(f"thyroid-serve: the gRPC port {port} on 127.0.0.1 is taken\n")


def test_the_nearest_repository_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    (tmp_path / "model_repository").symlink_to(repository)
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "docs" / "deep")
    result = CliRunner().invoke(main, ["--print-command"])
    assert f"--model-repository={tmp_path / 'model_repository'}" in shlex.split(result.output)


def test_no_repository_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main)
    assert result.exit_code == 2
    assert "name one with --model-repository" in result.output


def test_the_environment_names_a_repository(tmp_path: Path) -> None:
    variables = {"THYROID_MODEL_REPOSITORY": str(tmp_path / "from the environment")}
    result = CliRunner().invoke(main, [], env=variables)
    assert result.exit_code == 2
    assert f"thyroid-serve: {tmp_path / 'from the environment'} is missing" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--tls-certificate", "server.pem"),
        ("--tls-key", "server.key"),
        ("--tls-client-ca", "ca.pem"),
        ("--log-level", "loud"),
        ("--start-timeout-s", "0"),
        ("--grpc-port", "eight"),
    ],
)
def test_wrong_usage_ends_it_with_exit_code_2(repository: Path, arguments: tuple[str, str]) -> None:
    result = CliRunner().invoke(main, ["--model-repository", str(repository), *arguments])
    assert result.exit_code == 2
    assert "Usage:" in result.output


def test_the_command_for_a_container() -> None:
    result = CliRunner().invoke(
        main,
        [
            *("--model-repository", "/my models", "--profile", "default", "--host", "0.0.0.0"),
            *("--tls-certificate", "/tls/server.pem", "--tls-key", "/tls/server.key"),
            *("--tls-client-ca", "/tls/ca.pem", "--log-level", "info", "--print-command"),
        ],
    )
    assert result.exit_code == 0
    command, *arguments = shlex.split(result.output)
    assert command == "tritonserver"
    assert set(arguments) >= {
        "--model-repository=/my models",
        "--grpc-address=0.0.0.0",
        "--grpc-port=8001",
        "--http-address=127.0.0.1",
        "--grpc-use-ssl-mutual=true",
        "--grpc-root-cert=/tls/ca.pem",
        "--log-info=true",
    }
    assert not any("model-config-name" in argument for argument in arguments)
