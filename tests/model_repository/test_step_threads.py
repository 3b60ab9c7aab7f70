"""Decoder and cropper work on one thread each, whatever OpenCV would take by itself."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import tritonclient.grpc as triton

from ensemble_calls import screen
from pictures import phantom_png
from thyroid_pipeline import contract
from thyroid_server.embedded import EmbeddedTriton

IMAGES = 10
# What other threads of a process may take of its time: Triton's own wait and hand over.
OTHERS_SHARE = 0.02


@pytest.mark.parametrize("model", [contract.FRAME_DECODER, contract.ROI_CROPPER])
def test_one_thread_of_each_process_does_the_work(
    server: EmbeddedTriton, client: triton.InferenceServerClient, model: contract.Model
) -> None:
    for seed in range(IMAGES):
        screen(client, [phantom_png(seed, height_px=1080, width_px=1440)])
    for process in stubs(server, model):
        times = sorted(thread_times_ns(process.pid), reverse=True)
        assert sum(times[1:]) <= OTHERS_SHARE * times[0]


def stubs(server: EmbeddedTriton, model: contract.Model) -> list[psutil.Process]:
    """The processes of a model's instances."""
    found = [
        process
        for process in psutil.Process(server.pid).children(recursive=True)
        if any(f"/{model.name}/" in word for word in process.cmdline())
    ]
    assert found
    return found


def thread_times_ns(pid: int) -> list[int]:
    """Processor time of each thread: the first number of its schedstat (Linux, proc(5))."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int((task / "schedstat").read_text().split()[0]) for task in tasks]
