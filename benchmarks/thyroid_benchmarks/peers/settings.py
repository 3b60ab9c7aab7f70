"""What a peer's server is told, through its environment, which all of its processes inherit."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "THYROID_PEER"
# Carried by every process of one server, and by nothing else: by it they are found and ended.
MARKER = "THYROID_PEER_RUN"
HOST = "127.0.0.1"
ROUTE = "/screen"
FORM_FIELD = "image"  # of servers that take a form
TIMEOUT_S = 60
BATCH_WAIT_S = 0.005  # for more images, where a server gathers batches


@dataclass(frozen=True)
class PeerSettings:
    """What to serve, and how.

    Attributes:
        model_repository: Where the ONNX files are.
        port: To listen on, at `HOST`.
        at_once: How many images are worked on at once, from 1.
        threads: Of ONNX Runtime for one network's run, from 1.
        batch: How many images a server gathers at most before it works on them, from 1; with 1 it
            gathers none.
        cropper: `contract.CropperParameters` by name.
        scratch: A folder for the server's own files, removed after it has ended.
    """

    model_repository: str
    port: int
    at_once: int
    threads: int
    batch: int
    cropper: dict[str, float]
    scratch: str

    def environment(self) -> dict[str, str]:
        """Return the variable that carries it."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> PeerSettings:
        """Read what `environment` has written.

        Raises:
            KeyError: This process was not started by the benchmark.
        """
        return cls(**json.loads(os.environ[VARIABLE]))

    @property
    def repository(self) -> Path:
        """The model repository's folder."""
        return Path(self.model_repository)
