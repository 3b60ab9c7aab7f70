"""The peers: what each needs, and what it is tuned to and why.

No layout is best at both ends, so that every peer gets each that it has: `throughput` works on as
many images at once as there are cores, each network on one thread; `latency` on as many at once,
each network on all cores, which helps one client and costs a little where there are many; `batched`
is `throughput` with batches gathered as the peer's documentation has it. FastAPI gathers none by
itself. The report shows all, and sets the best of them beside ours.

Batches are measured because they are what these servers recommend where a network is what takes the
time. On a processor a pair of images takes as long as two, one after the other, so that a batch
brings little rate and makes its first image wait for its last; on an accelerator, where batches
help, this comparison says nothing.

What is the same for all: the ONNX files and ONNX Runtime's version; spinning off (only the
tutorial's ensemble keeps ONNX Runtime's defaults, as tutorials do); the steps of
`thyroid_pipeline`; kept connections; access logs off.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from thyroid_benchmarks.peer_transport import Body
from thyroid_benchmarks.peers.settings import BATCH_WAIT_S

Layout = Literal["throughput", "latency", "batched"]
LAYOUTS: tuple[Layout, ...] = ("throughput", "latency", "batched")
BATCH = 4
"""Images that a `batched` layout gathers at most, for each that is worked on at once: two workers
then take eight clients' images."""


@dataclass(frozen=True)
class Peer:
    """A framework by which one could serve the screening.

    Attributes:
        name: What it is called in reports and on the command line.
        module: Its server.
        requirements: Its packages as pip takes them; the first is the framework itself.
        tuned: What it is tuned to, and why.
        body: How it takes an image.
        layouts: Which it has.
        extra: Environment variables; `{scratch}` stands for its scratch folder.
    """

    name: str
    module: str
    requirements: tuple[str, ...]
    tuned: str
    body: Body = "raw"
    layouts: tuple[Layout, ...] = LAYOUTS
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def packages(self) -> tuple[str, ...]:
        """The names of its packages."""
        return tuple(requirement.split(">")[0].split("[")[0] for requirement in self.requirements)


_SERVERS = "thyroid_benchmarks.peers"
_WAIT_MS = f"{1000 * BATCH_WAIT_S:g}"

PEERS: tuple[Peer, ...] = (
    Peer(
        name="fastapi",
        module=f"{_SERVERS}.fastapi_server",
        requirements=("fastapi>=0.115,<1", "uvicorn[standard]>=0.30,<1"),
        tuned=(
            "uvicorn with uvloop and httptools; one process whose thread pool is limited to the "
            "images at once. Its documentation advises a process for each core where the work is "
            "Python; here it is ONNX Runtime's and OpenCV's, which let go of the interpreter's "
            "lock, so that threads use all cores, and no kept connection is stuck to a busy "
            "process while another is idle. It gathers no batches"
        ),
        layouts=("throughput", "latency"),
    ),
    Peer(
        name="litserve",
        module=f"{_SERVERS}.litserve_server",
        requirements=("litserve>=0.2.10,<0.3", "python-multipart>=0.0.9"),
        tuned=(
            "accelerator cpu, `workers_per_device` the images at once, one server process before "
            "them, as its documentation advises for work on the processor. It reads JSON and "
            "forms, so that the image comes as a form's file, which is smaller than base64. "
            f"Batched: `max_batch_size` {BATCH} and `batch_timeout` {_WAIT_MS} ms in each worker"
        ),
        body="form",
    ),
    Peer(
        name="bentoml",
        module=f"{_SERVERS}.bentoml_server",
        requirements=("bentoml>=1.4,<2",),
        tuned=(
            "one worker process with as many `threads` as images at once, which share its networks "
            "(the reason is FastAPI's); metrics and access logs off. It takes a file as a form's. "
            f"Batched: a service with a `batchable` API, `max_batch_size` {BATCH}, which finds by "
            "itself how long to wait, in a worker for each image at once, behind one that takes "
            "single images"
        ),
        body="form",
        extra={
            "BENTOML_HOME": "{scratch}/bentoml",
            "BENTOML_DO_NOT_TRACK": "1",
        },
    ),
    Peer(
        name="ray-serve",
        module=f"{_SERVERS}.ray_server",
        requirements=("ray[serve]>=2.40,<3",),
        tuned=(
            "a replica for each image at once, which screens in a thread so that its event loop "
            "stays free, with `max_ongoing_requests` 5, its default, so that the next image is at "
            "hand; dashboard and usage statistics off, a small object store. Batched: "
            f"`serve.batch` with `max_batch_size` {BATCH} and `batch_wait_timeout_s` {_WAIT_MS} ms"
        ),
        # Its token, without which its own processes would not speak to each other, lies at home.
        extra={"RAY_USAGE_STATS_ENABLED": "0", "HOME": "{scratch}"},
    ),
)
TUTORIAL = "tutorial-ensemble"
TUTORIAL_TUNED = (
    "nothing, as in tutorials: one Python model for each step, FP32 tensors between them, ONNX "
    "Runtime with its default options (all cores, spinning), no dynamic batching, Triton's default "
    "number of instances; served by the same Triton binary as ours"
)
OURS = "ours"
OURS_TUNED = "the model repository as it is shipped, by its `cpu` profile"
NAMES = (*(peer.name for peer in PEERS), TUTORIAL)
