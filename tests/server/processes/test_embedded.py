"""A real server from its start to its end, and what it leaves behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton

from thyroid_pipeline import contract
from thyroid_server.embedded import EmbeddedTriton, ServerSettings
from thyroid_server.errors import ReadinessError, ServerError, StartError
from thyroid_server.readiness import screen_once

pytestmark = pytest.mark.server


def no_probe(_address: str, _tls: Any) -> None:
    """Content as soon as every model is loaded."""


def affine(address: str) -> list[list[float]]:
    """Ask the model `affine` for 2x + 1 of 0, 1, 2."""
    tensor = triton.InferInput("x", [1, 3], "FP32")
    tensor.set_data_from_numpy(np.arange(3, dtype=np.float32)[None])
    with triton.InferenceServerClient(address) as client:
        answer: list[list[float]] = client.infer("affine", [tensor]).as_numpy("y").tolist()
        return answer


def test_it_answers_on_all_three_ports(server: EmbeddedTriton) -> None:
    assert affine(server.grpc_address) == [[1.0, 3.0, 5.0]]
    with urllib.request.urlopen(f"http://{server.http_address}/v2/health/ready") as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as answer:
        assert b"nv_inference_request_success" in answer.read()
    assert server.fault() is None


@pytest.mark.usefixtures("nothing_left")
def test_it_is_ready_only_once_the_probe_has_succeeded(
    hasty: ServerSettings, traces_of: Any
) -> None:
    seen = []

    def probe(address: str, tls: Any) -> None:
        screen_once(address, b"image", timeout_s=60.0, tls=tls)
        seen.append((address, tls))

    with EmbeddedTriton(hasty, probe) as server:
        assert seen == [(server.grpc_address, None)]
        traces = traces_of(server.pid)
        assert len(traces.stubs) == 1
    assert traces.left() == []


def test_two_servers_run_side_by_side_and_one_survives_the_other(
    server: EmbeddedTriton, hasty: ServerSettings
) -> None:
    with EmbeddedTriton(hasty) as other:
        assert other.pid != server.pid
        screen_once(other.grpc_address, b"image", timeout_s=60.0)
        assert affine(server.grpc_address) == [[1.0, 3.0, 5.0]]
    assert affine(server.grpc_address) == [[1.0, 3.0, 5.0]]


@pytest.mark.usefixtures("nothing_left")
def test_stop_is_idempotent_and_a_stopped_server_starts_again(python_model: Any) -> None:
    server = EmbeddedTriton(python_model("pass"), no_probe)
    server.stop()
    for _ in range(2):
        server.start()
        with pytest.raises(ServerError, match="runs already"):
            server.start()
        assert psutil.pid_exists(server.pid)
        server.stop()
        server.stop()
        with pytest.raises(ServerError, match=r"start\(\) it first"):
            _ = server.grpc_address


@pytest.mark.usefixtures("nothing_left")
def test_a_stray_module_in_the_current_folder_and_a_foreign_python_first_on_path_change_nothing(
    python_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('the wrong numpy')")
    (tmp_path / "json.py").write_text("raise ImportError('the wrong json')")
    foreign = tmp_path / "bin" / "python3"
    foreign.parent.mkdir()
    foreign.write_text("#!/bin/sh\nexit 1\n")
    foreign.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{foreign.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    check = "import sys, numpy; assert sys.prefix == " + repr(sys.prefix)
    with EmbeddedTriton(python_model(check), no_probe) as server:
        assert server.fault() is None


@pytest.mark.usefixtures("nothing_left")
def test_a_model_that_fails_to_load_ends_the_start_with_its_own_words(python_model: Any) -> None:
    broken = python_model("raise ValueError('the weights are from Mars')")
    with pytest.raises(
        StartError, match=r"while it started, the server ended with exit code 1"
    ) as caught:
        EmbeddedTriton(broken, no_probe).start()
    message = str(caught.value)
    assert "the weights are from Mars" in message
    assert "failed to load 'lone'" in message
    assert f"{broken.model_repository}/lone/1/model.py(3)" in message
    assert "CudaDriverHelper" not in message


@pytest.mark.usefixtures("nothing_left")
def test_a_model_that_hangs_is_caught_by_the_time_out(python_model: Any) -> None:
    hanging = python_model("import time; time.sleep(1000)", start_timeout_s=2.0)
    with pytest.raises(StartError, match="not ready after 2 s"):
        EmbeddedTriton(hanging, no_probe).start()


@pytest.mark.usefixtures("nothing_left")
def test_a_probe_that_fails_ends_the_server(python_model: Any) -> None:
    def probe(_address: str, _tls: Any) -> None:
        raise RuntimeError("no nodule in sight")

    with pytest.raises(ReadinessError, match="no nodule in sight"):
        EmbeddedTriton(python_model("pass"), probe).start()


# In a process of its own, as an interrupt may hit any line of it, a library's too. Whatever started
# the tests may have told them to ignore interrupts, and a child would inherit that.
INTERRUPTED = """
import signal, sys
from pathlib import Path
from thyroid_server.embedded import EmbeddedTriton, ServerSettings

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    EmbeddedTriton(ServerSettings(Path(sys.argv[1]), stop_timeout_s=0.0)).start()
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_while_it_starts_leaves_nothing(
    python_model: Any, tmp_path: Path, wait_until: Any, find_server: Any, traces_of: Any
) -> None:
    mark, temporary = tmp_path / "loading", tmp_path / "tmp"
    temporary.mkdir()
    hanging = python_model(f"open({str(mark)!r}, 'w'); import time; time.sleep(1000)")
    owner = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(hanging.model_repository)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    wait_until(mark.exists, "the model is loading")
    traces = traces_of(find_server(owner.pid))
    owner.send_signal(signal.SIGINT)
    assert owner.communicate()[0] == "interrupted\n"
    wait_until(lambda: traces.left() == [], "everything is gone")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("victim", "words"),
    [
        ("server", f"ended with exit code {128 + signal.SIGKILL}"),
        ("guardian", "guards the server was killed"),
    ],
)
@pytest.mark.usefixtures("nothing_left")
def test_a_killed_server_is_a_fault_and_leaves_nothing(
    settings: ServerSettings,
    victim: str,
    words: str,
    traces_of: Any,
    wait_until: Any,
) -> None:
    with EmbeddedTriton(settings, no_probe) as server:
        traces = traces_of(server.pid)
        getattr(traces, victim).kill()
        wait_until(lambda: server.fault() is not None, "the death is noticed")
        assert words in str(server.fault())
    # An orphan of a killed guardian is no child of anybody here; its end is for init to notice.
    wait_until(lambda: all(is_dead(process) for process in traces.stubs), "the stubs have died")
    assert [trace for trace in traces.left() if not trace.startswith("process")] == []


def is_dead(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.usefixtures("nothing_left")
def test_a_killed_stub_is_a_fault_and_does_not_make_the_stop_hang(
    settings: ServerSettings, traces_of: Any, wait_until: Any
) -> None:
    with EmbeddedTriton(settings, no_probe) as server:
        traces = traces_of(server.pid)
        traces.stubs[0].kill()
        wait_until(lambda: server.fault() is not None, "the death is noticed")
        assert f"process id {traces.stubs[0].pid}" in str(server.fault())
    assert traces.left() == []


@pytest.mark.usefixtures("nothing_left")
def test_a_server_that_does_not_end_by_itself_is_killed(python_model: Any, traces_of: Any) -> None:
    server = EmbeddedTriton(python_model("pass", stop_timeout_s=0.5), no_probe)
    server.start()
    traces = traces_of(server.pid)
    traces.server.suspend()
    server.stop()
    assert traces.left() == []


def test_a_killed_owner_takes_the_server_with_it(
    lean_repository: Path, tmp_path: Path, traces_of: Any, wait_until: Any
) -> None:
    program = (
        "import sys, threading; from pathlib import Path\n"
        "from thyroid_server.embedded import EmbeddedTriton, ServerSettings\n"
        "settings = ServerSettings(Path(sys.argv[1]), stop_timeout_s=0.0)\n"
        "server = EmbeddedTriton(settings, lambda *_: None)\n"
        # In a thread that ends: a death signal of the kernel would fire here already.
        "thread = threading.Thread(target=server.start); thread.start(); thread.join()\n"
        "print(server.pid, flush=True); sys.stdin.read()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(lean_repository)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    with owner:
        assert owner.stdout is not None
        traces = traces_of(int(owner.stdout.readline()))
        owner.kill()
    left = {traces.server, *traces.stubs}
    wait_until(lambda: all(is_dead(process) for process in left), "the server has ended")
    wait_until(
        lambda: not [trace for trace in traces.left() if not trace.startswith("process")],
        "its files are gone",
    )


@pytest.mark.usefixtures("nothing_left")
def test_a_log_file_takes_the_log(python_model: Any, tmp_path: Path, capfd: Any) -> None:
    log = tmp_path / "triton.log"
    with EmbeddedTriton(
        python_model("print('hello from the stub', flush=True)", log_file=log), no_probe
    ):
        pass
    assert "hello from the stub" in log.read_text()
    assert "successfully loaded 'lone'" not in log.read_text()
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("nothing_left")
def test_the_log_goes_to_stderr_and_its_level_is_forwarded(python_model: Any, capfd: Any) -> None:
    with EmbeddedTriton(python_model("pass", log_level="info"), no_probe):
        pass
    output, errors = capfd.readouterr()
    assert "successfully loaded 'lone'" in errors
    assert output == ""


@pytest.mark.usefixtures("nothing_left")
def test_screen_once_names_the_model_when_it_is_not_there(python_model: Any) -> None:
    with (
        pytest.raises(ReadinessError, match=rf"{contract.ENSEMBLE.name}.*StatusCode\.NOT_FOUND"),
        EmbeddedTriton(python_model("pass")),
    ):
        pass


@pytest.mark.usefixtures("nothing_left")
def test_an_answer_of_another_contract_is_no_readiness(
    hasty: ServerSettings, tmp_path: Path
) -> None:
    folder = tmp_path / contract.ENSEMBLE.name
    shutil.copytree(hasty.model_repository / folder.name, folder)
    model = folder / "1" / "model.py"
    model.write_text(model.read_text().replace("np.zeros((1,", "np.zeros((2,"))
    with pytest.raises(ReadinessError, match=r"int32 \[2, 1\] as 'decision'"):
        EmbeddedTriton(replace(hasty, model_repository=tmp_path)).start()


def test_screen_once_says_so_when_nobody_answers() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        with pytest.raises(ReadinessError, match=r"UNAVAILABLE|DEADLINE_EXCEEDED"):
            screen_once(f"127.0.0.1:{port}", b"image", timeout_s=2.0)
