"""Cores shared by the processes of a real server, seen from outside: its metrics and its answers.

The test itself holds cores of the server's pool, so that what is free does not depend on chance.
"""

from __future__ import annotations

import contextlib
import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import psutil
import pytest
import tritonclient.grpc as triton

from thyroid_server.core_pool import POOL_VARIABLE, CorePool
from thyroid_server.embedded import EmbeddedTriton, ServerSettings
from thyroid_server.onnx_serving import RUNS_METRIC
from thyroid_server.wheel import STUB_NAME

pytestmark = pytest.mark.server
CORES = 3


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """`affine` alone, asking for cores; its configuration has one instance."""
    models = tmp_path_factory.mktemp("sharing")
    model = models / "affine"
    (model / "1").mkdir(parents=True)
    (model / "1" / "model.onnx").symlink_to(repository / "affine" / "1" / "model.onnx")
    config = (repository / "affine" / "configs" / "cpu.pbtxt").read_text()
    # Gathered requests are one run; here each is to be one.
    alone, gathers = re.subn(r"dynamic_batching {\s*}", "", config)
    assert gathers == 1
    (model / "config.pbtxt").write_text(
        alone + 'parameters { key: "share_cores" value: { string_value: "1" } }'
    )
    return models


@pytest.fixture(scope="module")
def server(sharing: Path) -> Iterator[EmbeddedTriton]:
    settings = ServerSettings(sharing, cores=CORES, stop_timeout_s=0.0)
    with EmbeddedTriton(settings, probe=lambda _address, _tls: None) as server:
        yield server


@pytest.fixture(scope="module")
def stubs(server: EmbeddedTriton) -> list[psutil.Process]:
    children = psutil.Process(server.pid).children(recursive=True)
    return [each for each in children if Path(each.cmdline()[0]).name == STUB_NAME]


@pytest.fixture(scope="module")
def outsider(stubs: list[psutil.Process]) -> Iterator[CorePool]:
    """A borrower that is no process of the server."""
    pool = CorePool(Path(stubs[0].environ()[POOL_VARIABLE]))
    yield pool
    pool.close()


def runs(server: EmbeddedTriton) -> dict[int, int]:
    """How many runs there have been, by their threads."""
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as answer:
        text = answer.read().decode()
    pattern = rf'^{RUNS_METRIC}{{model="affine",threads="(\d+)"}} (\d+)$'
    return {int(threads): int(count) for threads, count in re.findall(pattern, text, re.M)}


def ask(address: str, rows: int) -> Any:
    tensor = triton.InferInput("x", [rows, 3], "FP32")
    tensor.set_data_from_numpy(np.arange(3 * rows, dtype=np.float32).reshape(rows, 3))
    with triton.InferenceServerClient(address) as client:
        return client.infer("affine", [tensor], client_timeout=60).as_numpy("y")


def test_there_is_an_instance_for_each_core(stubs: list[psutil.Process]) -> None:
    assert len(stubs) == CORES


@pytest.mark.parametrize(("taken", "threads"), [(0, 3), (1, 2), (2, 1)])
def test_a_request_runs_on_the_cores_that_are_free_and_answers_alike(
    server: EmbeddedTriton, outsider: CorePool, repository: Path, taken: int, threads: int
) -> None:
    before = runs(server)
    with outsider.borrow((1, taken)) if taken else contextlib.nullcontext():
        y = ask(server.grpc_address, 2)
    model = onnxruntime.InferenceSession(repository / "affine" / "1" / "model.onnx")
    np.testing.assert_array_equal(
        y, model.run(["y"], {"x": np.arange(6, dtype=np.float32).reshape(2, 3)})[0]
    )
    after = runs(server)
    assert {each: after[each] - before.get(each, 0) for each in after if after[each]} == {
        **dict.fromkeys((each for each in after if each != threads), 0),
        threads: 1,
    }


def test_requests_that_wait_for_a_core_run_on_one_each(
    server: EmbeddedTriton, outsider: CorePool
) -> None:
    before = runs(server)
    with ThreadPoolExecutor(4) as clients, outsider.borrow((1, CORES - 1)) as loan:
        assert loan.cores == CORES - 1
        # One core is left, so that each of them finds one free or has to wait for it.
        asked = [clients.submit(ask, server.grpc_address, 1) for _ in range(8)]
        assert [each.result().shape for each in asked] == [(1, 3)] * 8
    after = runs(server)
    assert after[1] - before.get(1, 0) == 8
    assert sum(after.values()) - sum(before.values()) == 8
