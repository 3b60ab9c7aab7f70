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
    processes = stubs(server, model)
    before = [thread_times_ns(process.pid) for process in processes]
    for seed in range(IMAGES):
        screen(client, [phantom_png(seed, height_px=1080, width_px=1440)])
    most_ns = others_ns = 0
    for process, earlier in zip(processes, before, strict=True):
        later = thread_times_ns(process.pid)
        took = sorted((later[task] - earlier.get(task, 0) for task in later), reverse=True)
        most_ns += took[0]
        others_ns += sum(took[1:])
    assert others_ns <= OTHERS_SHARE * most_ns


def stubs(server: EmbeddedTriton, model: contract.Model) -> list[psutil.Process]:
    """The processes of a model's instances."""
    found = [
        process
        for process in psutil.Process(server.pid).children(recursive=True)
        if any(f"/{model.name}/" in word for word in process.cmdline())
    ]
    assert found
    return found


def thread_times_ns(pid: int) -> dict[str, int]:
    """Processor time of each thread: the first number of its schedstat (Linux, proc(5))."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {task.name: int((task / "schedstat").read_text().split()[0]) for task in tasks}
