"""A server of Triton's protocol that does what a test tells it, and the answers that it gives.

The answers are put together here by hand, byte by byte, and share no code with their reading.
"""

from __future__ import annotations

import io
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import grpc
import numpy as np
import pytest
from PIL import Image
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from thyroid_client import RawAnswer, RawTensor
from thyroid_pipeline import contract

Array: TypeAlias = "np.ndarray[Any, Any]"

HEIGHT, WIDTH = 80, 120
BOX = (30, 20, 40, 24)
EVIDENCE = np.linspace(-2, 3, 25, dtype="<f4").reshape(contract.EVIDENCE.shape)


def png(array: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def grey_image(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def box_mask(height: int = HEIGHT, width: int = WIDTH, box: tuple[int, ...] = BOX) -> Array:
    x, y, box_width, box_height = box
    mask = np.zeros((height, width), bool)
    mask[y : y + box_height, x : x + box_width] = True
    return mask


@dataclass(frozen=True)
class Said:
    """What a server says of one image, to be changed field by field with `but`."""

    decision: int = 3
    found: bool = True
    malignancy: float = 0.75
    forest_malignancy: float = 0.5
    ood_score: float = 0.25
    box: tuple[int, ...] = BOX
    mask: Array = field(default_factory=box_mask)
    morphology: tuple[float, ...] = tuple(float(i) for i in range(len(contract.MORPHOLOGY_FIELDS)))
    evidence: Array = field(default_factory=EVIDENCE.copy)

    def but(self, **changes: Any) -> Said:
        return replace(self, **changes)

    def tensors(self) -> list[RawTensor]:
        mask = png(self.mask)
        return [
            RawTensor("decision", "INT32", (1, 1), struct.pack("<i", self.decision)),
            RawTensor("nodule_found", "BOOL", (1, 1), struct.pack("<?", self.found)),
            RawTensor("malignancy", "FP32", (1, 1), struct.pack("<f", self.malignancy)),
            RawTensor(
                "forest_malignancy", "FP32", (1, 1), struct.pack("<f", self.forest_malignancy)
            ),
            RawTensor("ood_score", "FP32", (1, 1), struct.pack("<f", self.ood_score)),
            RawTensor("box", "INT32", (1, 4), struct.pack("<4i", *self.box)),
            RawTensor("mask", "BYTES", (1, 1), struct.pack("<I", len(mask)) + mask),
            RawTensor(
                "morphology",
                "FP32",
                (1, len(self.morphology)),
                struct.pack(f"<{len(self.morphology)}f", *self.morphology),
            ),
            RawTensor(
                "evidence",
                "FP32",
                (1, *contract.EVIDENCE.shape),
                self.evidence.astype("<f4").tobytes(),
            ),
        ]

    def answer(self) -> RawAnswer:
        return RawAnswer("thyroid_screening", "1", tuple(self.tensors()))


NODULE = Said()
NO_NUMBER = {
    "malignancy": float("nan"),
    "forest_malignancy": float("nan"),
    "evidence": np.zeros(contract.EVIDENCE.shape, np.float32),
}
NO_NODULE = NODULE.but(
    decision=0,
    found=False,
    box=(0, 0, 0, 0),
    mask=np.zeros((HEIGHT, WIDTH), bool),
    morphology=(float("nan"),) * len(contract.MORPHOLOGY_FIELDS),
    **NO_NUMBER,
)
# Out of distribution: what was found is told, and no number.
FOREIGN = NODULE.but(decision=4, ood_score=2.5, **NO_NUMBER)
FOREIGN_AND_EMPTY = NO_NODULE.but(decision=4, ood_score=2.5)


def response(said: Said) -> pb.ModelInferResponse:
    return response_of(said.tensors())


def response_of(tensors: list[RawTensor]) -> pb.ModelInferResponse:
    message = pb.ModelInferResponse(model_name="thyroid_screening", model_version="1")
    for tensor in tensors:
        message.outputs.add(name=tensor.name, datatype=tensor.data_type, shape=tensor.shape)
        message.raw_output_contents.append(tensor.content)
    return message


# What the server does with one image: (image, call's context, how many came before it) -> answer.
Behaviour = Callable[[bytes, Any, int], Any]


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.images: list[bytes] = []
        self.cancelled = threading.Event()
        self.ready = True
        self.versions = {model.name: ["1", "3", "2"] for model in contract.MODELS}
        self.metadata_calls = 0
        self._lock = threading.Lock()

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        (content,) = request.raw_input_contents
        assert request.model_name == "thyroid_screening"
        assert [(i.name, i.datatype, list(i.shape)) for i in request.inputs] == [
            ("image", "BYTES", [1, 1])
        ]
        (length,) = struct.unpack("<I", content[:4])
        image = content[4:]
        assert len(image) == length
        with self._lock:
            before = len(self.images)
            self.images.append(image)
        return self.behaviour(image, context, before)

    def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        assert request.name == "thyroid_screening"
        return pb.ModelReadyResponse(ready=self.ready)

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        with self._lock:
            self.metadata_calls += 1
        return pb.ModelMetadataResponse(name=request.name, versions=self.versions[request.name])


def answering(said: Said = NODULE) -> Behaviour:
    def behave(image: bytes, context: Any, before: int) -> Any:
        return response(said)

    return behave


def failing(times: int, code: grpc.StatusCode, details: str, said: Said = NODULE) -> Behaviour:
    """Fail so many times, then answer."""

    def behave(image: bytes, context: Any, before: int) -> Any:
        if before < times:
            context.abort(code, details)
        return response(said)

    return behave


def stalling(servicer_of: Callable[[], FakeTriton]) -> Behaviour:
    """Never answer; note it when the call is given up."""

    def behave(image: bytes, context: Any, before: int) -> Any:
        gone = threading.Event()
        if not context.add_callback(gone.set):
            gone.set()
        gone.wait(30)
        servicer_of().cancelled.set()
        return pb.ModelInferResponse()

    return behave


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in another thread; the test's own time limit ends it."""
    while not condition():
        time.sleep(0.005)


@dataclass
class Running:
    address: str
    servicer: FakeTriton
    server: grpc.Server
    port: int


@pytest.fixture
def start_server() -> Iterator[Callable[..., Running]]:
    """Start fake servers on loopback; all are stopped after the test."""
    servers: list[grpc.Server] = []

    def start(
        behaviour: Behaviour | None = None,
        *,
        credentials: grpc.ServerCredentials | None = None,
        port: int = 0,
        stall: bool = False,
    ) -> Running:
        server = grpc.server(
            ThreadPoolExecutor(16),
            options=[
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
        )
        servicer = FakeTriton(behaviour or answering())
        if stall:
            servicer.behaviour = stalling(lambda: servicer)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
        where = f"127.0.0.1:{port}"
        if credentials is None:
            bound = server.add_insecure_port(where)
        else:
            bound = server.add_secure_port(where, credentials)
        server.start()
        servers.append(server)
        return Running(f"127.0.0.1:{bound}", servicer, server, bound)

    yield start
    for server in servers:
        server.stop(None).wait()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four files: two of one name, one without a nodule (its first pixel says so), one bad."""
    folder = tmp_path / "images"
    (folder / "left").mkdir(parents=True)
    (folder / "right").mkdir()
    for index, name in enumerate(("left/neck 1.png", "none.png", "right/neck 1.png")):
        grey = grey_image(index)
        grey[0, 0] = 0 if "none" in name else 255
        (folder / name).write_bytes(png(grey))
    (folder / "text.png").write_text("no image at all")
    return folder


@pytest.fixture
def screener(start_server: Callable[..., Running]) -> Running:
    """Say by the image's first pixel whether there is a nodule; refuse what is no image."""

    def behave(image: bytes, context: Any, before: int) -> Any:
        if not image.startswith(b"\x89PNG"):
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                "in ensemble 'thyroid_screening', these bytes are no image: send one",
            )
        first = Image.open(io.BytesIO(image)).getpixel((0, 0))
        return response(NODULE if first else NO_NODULE)

    return start_server(behave)


@pytest.fixture(scope="session")
def fake() -> SimpleNamespace:
    """What the tests need of this file; test folders are no packages to import from."""
    return SimpleNamespace(
        NODULE=NODULE,
        NO_NODULE=NO_NODULE,
        FOREIGN=FOREIGN,
        FOREIGN_AND_EMPTY=FOREIGN_AND_EMPTY,
        BOX=BOX,
        HEIGHT=HEIGHT,
        WIDTH=WIDTH,
        EVIDENCE=EVIDENCE,
        Said=Said,
        png=png,
        grey_image=grey_image,
        box_mask=box_mask,
        response=response,
        response_of=response_of,
        answering=answering,
        failing=failing,
        wait_for=wait_for,
    )
