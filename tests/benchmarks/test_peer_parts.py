"""The peers' parts without their packages: environments, processes, answers over HTTP."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from pictures import phantom_png
from thyroid_benchmarks.peer_contestants import Numbers, layout_numbers
from thyroid_benchmarks.peer_environment import (
    PeerUnavailableError,
    make_environment,
    run_command,
    tidy,
)
from thyroid_benchmarks.peer_list import BATCH, NAMES, PEERS
from thyroid_benchmarks.peer_process import serving
from thyroid_benchmarks.peer_transport import HttpTransport, read_http_answer
from thyroid_benchmarks.peers import entry
from thyroid_benchmarks.peers.screener import Screener, encode_refusal
from thyroid_benchmarks.peers.settings import FORM_FIELD, HOST, MARKER, ROUTE, PeerSettings
from thyroid_benchmarks.tutorial_repository import write_tutorial_repository
from thyroid_client import AnswerError, ConnectionFailed, ImageRejected, ServerError
from thyroid_client._answers import read_answer
from thyroid_pipeline import contract
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.warmup import warmup_image
from thyroid_training.offline import OfflinePipeline

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


@pytest.fixture(scope="module")
def screener(model_repository: Path) -> Screener:
    return Screener(PeerSettings(str(model_repository), 0, 1, 1, 1, {}, ""))


@pytest.mark.parametrize("body", ["raw", "form"])
async def test_peers_answer_over_http_as_the_offline_pipeline_does(
    screener: Screener, offline: OfflinePipeline, body: str
) -> None:
    async def screen(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        if body == "form":
            image = (await request.post())[FORM_FIELD].file.read()  # type: ignore[union-attr]
        else:
            image = await request.read()
        try:
            return web.Response(body=screener.screen(image))
        except ImageError as error:
            return web.Response(status=400, body=encode_refusal(str(error)))

    app = web.Application(client_max_size=2**26)
    app.router.add_post(ROUTE, screen)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    transport = HttpTransport(f"http://{host}:{port}{ROUTE}", body)  # type: ignore[arg-type]
    image = warmup_image()
    try:
        findings = read_answer(await transport.infer(image, timeout_s=60))
        with pytest.raises(ImageRejected, match="not an image"):
            await transport.infer(b"no image", timeout_s=60)
        assert await transport.is_ready(timeout_s=10)
    finally:
        await runner.cleanup()
    with pytest.raises(ConnectionFailed):
        await transport.infer(image, timeout_s=10)
    await transport.close()
    right = offline.screen(image)
    assert findings.decision == right.decision
    assert findings.nodule_found == right.crop.nodule_found
    assert findings.ood_score == pytest.approx(right.ood_score, rel=1e-2)
    assert math.isnan(right.malignancy) == (findings.malignancy is None)
    if findings.box is not None:
        np.testing.assert_allclose(findings.box.as_tuple(), right.crop.box, atol=2)


def test_a_batch_is_answered_as_its_images_are_alone(screener: Screener) -> None:
    images = [warmup_image(), phantom_png(3), b"no image", phantom_png(4)]
    answers = screener.screen_batch(images)
    assert len(answers) == len(images)
    for image, answer in zip(images, answers, strict=True):
        if image == b"no image":
            assert isinstance(answer, ImageError)
            continue
        assert isinstance(answer, bytes)
        together, alone = (
            read_answer(read_http_answer(200, one)) for one in (answer, screener.screen(image))
        )
        assert together.decision == alone.decision
        assert together.nodule_found == alone.nodule_found
        assert together.ood_score == pytest.approx(alone.ood_score, rel=1e-3)
        assert together.malignancy == pytest.approx(alone.malignancy, abs=1e-3)
    assert all(isinstance(one, ImageError) for one in screener.screen_batch([b"", b"x"]))


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        (400, b'{"error": "black"}', ImageRejected),
        (500, b"trace", ServerError),
        (200, b"not json", AnswerError),
        (200, b"{}", AnswerError),
        (200, json.dumps({"decision": [1]}).encode(), AnswerError),
    ],
)
def test_what_is_no_answer_is_an_error(status: int, content: bytes, error: type) -> None:
    with pytest.raises(error):
        read_http_answer(status, content)


def test_the_tutorials_ensemble_is_built_as_tutorials_do(
    tmp_path: Path, model_repository: Path
) -> None:
    folder = tmp_path / "models"
    write_tutorial_repository(folder, model_repository, contract.CropperParameters(threshold=0.25))
    assert {path.name for path in folder.iterdir()} == {model.name for model in contract.MODELS}
    for model in contract.STEPS:
        config = text_format.Parse(
            (folder / model.name / "config.pbtxt").read_text(), ModelConfig()
        )
        assert config.backend == "python"
        assert not config.HasField("dynamic_batching")
        assert not config.instance_group
        types = {tensor.data_type for tensor in (*config.input, *config.output)}
        assert (
            ModelConfig.DESCRIPTOR.file.enum_types_by_name["DataType"]
            .values_by_name["TYPE_UINT8"]
            .number
            not in types
        )
        source = (folder / model.name / "1" / "model.py").read_text()
        compile(source, model.name, "exec")
        if model in contract.NETWORKS:
            assert "InferenceSession(str(folder / contract.ONNX_FILE))" in source
            assert (folder / model.name / "1" / contract.ONNX_FILE).is_file()
    cropper = text_format.Parse(
        (folder / contract.ROI_CROPPER.name / "config.pbtxt").read_text(), ModelConfig()
    )
    assert cropper.parameters["threshold"].string_value == "0.25"
