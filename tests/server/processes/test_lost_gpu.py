"""A backend that has lost its GPU, in a real Triton behind a real `thyroid-serve`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from thyroid_pipeline import contract
from thyroid_pipeline.warmup import warmup_image

pytestmark = pytest.mark.server

LOSE = "lose the GPU"
LOSING = f"""
        if any(request.request_id() == {LOSE!r} for request in requests):
            from thyroid_server.cuda_buffers import CudaError
            from thyroid_server.rtx_serving import end_process
            end_process(CudaError("no more\\n  wanted: a run to its end", is_lasting=True))
"""


@pytest.fixture
def repository(lean_repository: Path, tmp_path: Path) -> Path:
    """The stand-in for the ensemble, which loses its GPU on demand."""
    folder = tmp_path / "models"
    shutil.copytree(lean_repository, folder, ignore=shutil.ignore_patterns("__pycache__"))
    model = folder / contract.ENSEMBLE.name / "1" / "model.py"
    head, execute, rest = model.read_text().partition("def execute(self, requests):\n")
    assert execute
    model.write_text(head + execute + LOSING + rest)
    return folder


def test_it_ends_the_server_for_a_supervisor_to_start_it_again(
    cli: Callable[..., Any], repository: Path
) -> None:
    ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
    # Triton does not come to an end by itself without the process that it has lost.
    options = ("--profile", "default", "--stop-timeout-s", "0")
    running = cli("--model-repository", str(repository), *options, *ports)
    image = triton.InferInput(contract.IMAGE.name, [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[warmup_image()]], np.object_))
    with (
        triton.InferenceServerClient(running.addresses()["gRPC"]) as client,
        pytest.raises(InferenceServerException),
    ):
        client.infer(contract.ENSEMBLE.name, [image], request_id=LOSE, client_timeout=30)
    code, messages = running.finish()
    assert code == 1
    assert "error: no more; wanted: a run to its end\n" in messages
    assert "the process of a Python model has died" in messages
