"""The ONNX Runtime backend inside a real server, by bare gRPC."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from thyroid_server.embedded import EmbeddedTriton, ServerSettings
from thyroid_server.errors import StartError

pytestmark = pytest.mark.server
Array = np.ndarray[Any, Any]


def infer(client: Any, model: str, name: str, array: Array, *outputs: str) -> Any:
    tensor = triton.InferInput(name, array.shape, {"f": "FP32", "i": "INT64"}[array.dtype.kind])
    tensor.set_data_from_numpy(array)
    wanted = [triton.InferRequestedOutput(output) for output in outputs] or None
    return client.infer(model, [tensor], outputs=wanted)


def at_once(client: Any, model: str, name: str, arrays: list[Array]) -> list[Any]:
    """Ask for several things at the same time; results or errors, in order."""
    answers: list[Any] = [None] * len(arrays)

    def ask(index: int) -> None:
        try:
            answers[index] = infer(client, model, name, arrays[index])
        except InferenceServerException as error:
            answers[index] = error

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(arrays))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def executions(client: Any, model: str) -> int:
    statistics = client.get_inference_statistics(model, as_json=True)
    return int(statistics["model_stats"][0].get("execution_count", 0))


def executions_after(client: Any, model: str, before: int) -> int:
    """Triton counts a run only after its answers have gone out."""
    deadline = time.monotonic() + 10
    while (count := executions(client, model)) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    return count


def test_requests_that_meet_are_one_run_and_equal_onnx_runtime_one_by_one(
    client: Any, repository: Path
) -> None:
    session = onnxruntime.InferenceSession(repository / "gathered" / "1" / "model.onnx")
    rng = np.random.default_rng(7)
    arrays = [rng.normal(size=(1, 5)).astype(np.float32) for _ in range(4)]
    before = executions(client, "gathered")
    answers = at_once(client, "gathered", "x", arrays)
    assert executions_after(client, "gathered", before) == before + 1
    for array, answer in zip(arrays, answers, strict=True):
        y, s = session.run(["y", "s"], {"x": array})
        np.testing.assert_array_equal(answer.as_numpy("y"), y)
        np.testing.assert_allclose(answer.as_numpy("s"), s, rtol=1e-5, atol=1e-5)


def test_a_request_of_several_images_keeps_its_batch(client: Any) -> None:
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert infer(client, "affine", "x", x).as_numpy("s").tolist() == [[1.0], [5.0], [9.0]]


def test_only_the_outputs_asked_for_come_back(client: Any) -> None:
    x = np.ones((1, 2), np.float32)
    answer = infer(client, "affine", "x", x, "s")
    assert answer.as_numpy("s").tolist() == [[2.0]]
    assert answer.as_numpy("y") is None
    assert infer(client, "affine", "x", x).as_numpy("y").tolist() == [[3.0, 3.0]]


def test_in_one_batch_only_the_request_that_the_graph_refuses_fails(client: Any) -> None:
    arrays = [np.array([[index]], np.int64) for index in (0, 1, 99, 3)]
    before = executions(client, "lookup")
    first, second, bad, last = at_once(client, "lookup", "index", arrays)
    assert executions_after(client, "lookup", before) == before + 1
    values = [answer.as_numpy("value").item() for answer in (first, second, last)]
    assert values == [10.0, 11.0, 13.0]
    assert isinstance(bad, InferenceServerException)
    assert bad.status() == "StatusCode.INVALID_ARGUMENT"
    assert "idx=99" in bad.message()
    assert "Traceback" not in bad.message()
    assert ".py" not in bad.message()


def test_a_config_that_contradicts_its_file_is_refused_when_it_is_loaded(
    repository: Path, tmp_path: Path
) -> None:
    shutil.copytree(repository / "lookup", tmp_path / "lookup")
    config = tmp_path / "lookup" / "config.pbtxt"
    config.write_text(config.read_text().replace("TYPE_INT64", "TYPE_INT32"))
    with pytest.raises(StartError) as error:
        EmbeddedTriton(ServerSettings(tmp_path, stop_timeout_s=0.0)).start()
    assert "input index is TYPE_INT32 in the config and TYPE_INT64 in the" in str(error.value)
