"""The peers without their packages: answers over HTTP and in batches, the tutorials' ensemble."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from pictures import phantom_png
from thyroid_benchmarks.peer_transport import HttpTransport, read_http_answer
from thyroid_benchmarks.peers.screener import Screener, encode_refusal
from thyroid_benchmarks.peers.settings import FORM_FIELD, HOST, ROUTE, PeerSettings
from thyroid_benchmarks.tutorial_repository import write_tutorial_repository
from thyroid_client import AnswerError, ConnectionFailed, ImageRejected, ServerError
from thyroid_client._answers import read_answer
from thyroid_pipeline import contract
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.warmup import warmup_image
from thyroid_training.offline import OfflinePipeline


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
