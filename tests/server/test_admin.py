"""What Triton's administrative protocols answer, on a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from thyroid_pipeline import contract
from thyroid_server.embedded import EmbeddedTriton, ServerSettings

pytestmark = pytest.mark.server

KEY = "a=key,with:signs/\"'$(x)"  # every sign that an option parser or a shell might trip over
SIZE_BYTES = 64
ENSEMBLE = contract.ENSEMBLE.name
WRONG = [{}, {"admin-key": "guess"}, {"admin-key": ""}]

# Each call: method, path, body.
RESTRICTED = [
    ("POST", "/v2/systemsharedmemory/region/x/unregister", {}),
    ("GET", "/v2/systemsharedmemory/status", None),
    ("POST", "/v2/cudasharedmemory/region/x/unregister", {}),
    ("POST", "/v2/repository/index", {}),
    ("GET", "/v2/logging", None),
    ("POST", "/v2/logging", {"log_verbose_level": 0}),
    ("GET", "/v2/trace/setting", None),
    ("POST", "/v2/trace/setting", {"trace_level": ["OFF"]}),
    ("GET", f"/v2/models/{ENSEMBLE}/trace/setting", None),
]
OPEN = [
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    f"/v2/models/{ENSEMBLE}",
    f"/v2/models/{ENSEMBLE}/ready",
    f"/v2/models/{ENSEMBLE}/config",
    f"/v2/models/{ENSEMBLE}/stats",
]


def ask(
    address: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """One HTTP request; returns the status and the body."""
    host, _, port = address.partition(":")
    connection = HTTPConnection(host, int(port), timeout=10.0)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def keyed(hasty: ServerSettings) -> Iterator[EmbeddedTriton]:
    with EmbeddedTriton(replace(hasty, admin_key=KEY)) as server:
        yield server


@pytest.fixture(params=["a key of our own", "a random key"])
def closed(request: pytest.FixtureRequest) -> EmbeddedTriton:
    """A server with either kind of key."""
    name = "keyed" if request.param == "a key of our own" else "server"
    return request.getfixturevalue(name)  # type: ignore[no-any-return]


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    memory = SharedMemory(create=True, size=SIZE_BYTES)
    yield memory
    memory.close()
    memory.unlink()


def region(memory: SharedMemory) -> dict[str, Any]:
    return {"key": f"/{memory.name}", "offset": 0, "byte_size": SIZE_BYTES}


@pytest.mark.parametrize("headers", WRONG)
def test_without_the_key_http_registers_no_shared_memory(
    closed: EmbeddedTriton, memory: SharedMemory, headers: dict[str, str]
) -> None:
    path = "/v2/systemsharedmemory/region/x/register"
    status, message = ask(closed.http_address, "POST", path, region(memory), headers)
    assert (status, "restricted" in message) == (403, True)


@pytest.mark.parametrize("headers", WRONG)
@pytest.mark.parametrize(("method", "path", "body"), RESTRICTED)
def test_without_the_key_http_administers_nothing(
    closed: EmbeddedTriton, method: str, path: str, body: Any, headers: dict[str, str]
) -> None:
    status, message = ask(closed.http_address, method, path, body, headers)
    assert (status, "restricted" in message) == (403, True)


def test_with_the_key_http_administers(keyed: EmbeddedTriton, memory: SharedMemory) -> None:
    headers = {"admin-key": KEY}
    path = "/v2/systemsharedmemory/region/x/register"
    assert ask(keyed.http_address, "POST", path, region(memory), headers)[0] == 200
    status, regions = ask(keyed.http_address, "GET", "/v2/systemsharedmemory/status", None, headers)
    assert (status, memory.name in regions) == (200, True)
    for method, restricted, body in RESTRICTED:
        status, message = ask(keyed.http_address, method, restricted, body, headers)
        assert status == 200, (restricted, message)


def grpc_calls(client: Any, memory: SharedMemory, headers: dict[str, str] | None) -> dict[str, Any]:
    return {
        "register": lambda: client.register_system_shared_memory(
            "y", f"/{memory.name}", SIZE_BYTES, headers=headers
        ),
        "status": lambda: client.get_system_shared_memory_status(headers=headers),
        "unregister": lambda: client.unregister_system_shared_memory("y", headers=headers),
        "cuda": lambda: client.get_cuda_shared_memory_status(headers=headers),
        "index": lambda: client.get_model_repository_index(headers=headers),
        "log": lambda: client.get_log_settings(headers=headers),
        "set log": lambda: client.update_log_settings({"log_verbose_level": 0}, headers=headers),
        "trace": lambda: client.get_trace_settings(headers=headers),
        "set trace": lambda: client.update_trace_settings(
            settings={"trace_level": ["OFF"]}, headers=headers
        ),
    }


@pytest.mark.parametrize(
    "headers",
    [None, {"triton-grpc-protocol-admin-key": "guess"}, {"admin-key": KEY}],
    ids=["none", "wrong", "under HTTP's name"],
)
def test_without_the_key_grpc_administers_nothing(
    closed: EmbeddedTriton, memory: SharedMemory, headers: dict[str, str] | None
) -> None:
    with triton.InferenceServerClient(closed.grpc_address) as client:
        for call in grpc_calls(client, memory, headers).values():
            with pytest.raises(InferenceServerException, match="This protocol is restricted"):
                call()


def test_with_the_key_grpc_administers(keyed: EmbeddedTriton, memory: SharedMemory) -> None:
    with triton.InferenceServerClient(keyed.grpc_address) as client:
        calls = grpc_calls(client, memory, {"triton-grpc-protocol-admin-key": KEY})
        answers = {name: call() for name, call in calls.items()}
    assert answers["status"].regions["y"].key == f"/{memory.name}"
    assert ENSEMBLE in {model.name for model in answers["index"].models}


def test_everything_else_stays_open(closed: EmbeddedTriton) -> None:
    for path in OPEN:
        status, message = ask(closed.http_address, "GET", path)
        assert status == 200, (path, message)
    image = np.full((1, 1), b"an image", dtype=np.object_)
    with triton.InferenceServerClient(closed.grpc_address) as client:
        assert client.is_server_ready()
        assert client.get_model_metadata(ENSEMBLE).name == ENSEMBLE
        assert client.get_model_config(ENSEMBLE).config.name == ENSEMBLE
        assert client.get_inference_statistics(ENSEMBLE).model_stats[0].name == ENSEMBLE
        tensor = triton.InferInput(contract.IMAGE.name, image.shape, "BYTES")
        tensor.set_data_from_numpy(image)
        answer = client.infer(ENSEMBLE, [tensor])
    assert answer.as_numpy(contract.MALIGNANCY.name).tolist() == [[0.0]]
    inputs = {"name": contract.IMAGE.name, "shape": [1, 1], "datatype": "BYTES", "data": ["x"]}
    path = f"/v2/models/{ENSEMBLE}/infer"
    assert ask(closed.http_address, "POST", path, {"inputs": [inputs]})[0] == 200


def test_the_key_is_not_shown_with_the_settings(hasty: ServerSettings) -> None:
    assert KEY not in repr(replace(hasty, admin_key=KEY))
