"""`thyroid-serve` as its users meet it: a process, its output, its exit code, its traces."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
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


def test_the_nearest_repository_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "docs" / "deep")
    (tmp_path / "model_repository" / "stray").mkdir(parents=True)
    result = CliRunner().invoke(main)
    assert result.exit_code == 2
    assert f"{tmp_path / 'model_repository'}" in result.output


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


@pytest.mark.server
def test_it_warns_once_where_the_network_can_reach_it(cli: Any, lean_repository: Path) -> None:
    serve = cli("--model-repository", str(lean_repository), "--host", "0.0.0.0", *ANY_PORTS)
    serve.addresses()
    serve.process.send_signal(signal.SIGTERM)
    code, messages = serve.finish()
    warning, *others = messages.splitlines()
    assert warning.startswith(
        "thyroid-serve: warning: whoever reaches 0.0.0.0 may use gRPC and HTTP"
    )
    assert (code, others) == (0, ["Signal (15) received."])


PAIR = ("--tls-certificate", "server.pem", "--tls-key", "server.key")


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        (("--host", "127.0.0.1"), None),
        (("--host", "localhost"), None),
        (("--host", "0.0.0.0"), "gRPC and HTTP, in plaintext, and read the metrics"),
        (("--host", "0.0.0.0", *PAIR), "gRPC and read the metrics"),
        (("--host", "0.0.0.0", *PAIR, "--tls-client-ca", "ca.pem"), None),
    ],
)
def test_who_is_warned(tmp_path: Path, arguments: tuple[str, ...], warning: str | None) -> None:
    # A repository that is missing ends it before it starts anything.
    gone = str(tmp_path / "gone")
    result = CliRunner().invoke(main, ["--model-repository", gone, *arguments])
    assert result.exit_code == 2
    if warning is None:
        assert result.output.startswith(f"thyroid-serve: {gone} is missing")
    else:
        assert f"may use {warning};" in result.output.splitlines()[0]
        assert result.output.splitlines()[1].startswith(f"thyroid-serve: {gone} is missing")


def test_an_admin_key_that_no_header_can_carry(repository: Path) -> None:
    for key in ("two words", "schlüssel", "line\nbreak"):
        for last in ("--log-level=error", "--print-command"):
            arguments = ["--model-repository", str(repository), "--profile", "cpu"]
            result = CliRunner().invoke(main, [*arguments, "--admin-key", key, last])
            assert result.exit_code == 2
            assert f"the admin key of {len(key)} characters cannot be sent" in result.output
            assert key not in result.output


BLOCKED = """
import sys
sys.modules["psutil"] = None
from thyroid_server.cli import main
main()
"""


def test_without_the_libraries_of_a_server_it_says_what_to_install(lean_repository: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", BLOCKED, "--model-repository", str(lean_repository), *ANY_PORTS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr.count("Traceback")) == (2, "", 0)
    assert run.stderr.startswith(f"thyroid-serve: {sys.executable} has no module psutil\n")
    assert "pip install 'thyroid-triton[server]'" in run.stderr
