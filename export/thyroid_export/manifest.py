"""What each exported artefact is, and of what it was made: `manifest.json` of the repository."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from thyroid_export.onnx_graph import OPSET
from thyroid_export.parity import Parity
from thyroid_training.checkpoint import read_state_dict

MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class Artefact:
    """One exported file.

    Attributes:
        file: Its path within the repository.
        sha256: Of the file.
        weights_sha256: Of its parameters' names and FP32 values, whatever file they stand in.
        parameter_count: Number of parameters, statistics of batches included.
        opset: ONNX opset.
        torch: Version that exported it.
        onnx: Version of the onnx package.
        python: Version of the interpreter.
        source: What the weights were trained on and how, as `thyroid-train` recorded it.
        parity: Its figures against PyTorch.
    """

    file: str
    sha256: str
    weights_sha256: str
    parameter_count: int
    opset: int
    torch: str
    onnx: str
    python: str
    source: Mapping[str, object]
    parity: tuple[Parity, ...]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights_sha256(path: Path) -> tuple[str, int]:
    """SHA-256 of an exported network's parameters, and their number.

    The hash runs over each name and its FP32 values in order of names, so that two files with the
    same weights agree though their graphs differ.
    """
    digest, count = hashlib.sha256(), 0
    for name, value in sorted(read_state_dict(path).items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.numpy()).tobytes())
        count += value.numel()
    return digest.hexdigest(), count


def describe(
    repository: Path, path: Path, source: Mapping[str, object], parity: list[Parity]
) -> Artefact:
    """Describe an exported file for the manifest.

    Args:
        repository: The model repository.
        path: The file, within it.
        source: The training run's record.
        parity: Figures of `check_parity`.

    Returns:
        Its entry.
    """
    weights, count = weights_sha256(path)
    return Artefact(
        file=path.relative_to(repository).as_posix(),
        sha256=file_sha256(path),
        weights_sha256=weights,
        parameter_count=count,
        opset=OPSET,
        torch=torch.__version__,
        onnx=onnx.__version__,
        python=".".join(str(part) for part in sys.version_info[:3]),
        source=source,
        parity=tuple(parity),
    )


def read_manifest(repository: Path) -> dict[str, dict[str, object]]:
    """Read the manifest: each artefact's entry by its file. Empty where there is none yet."""
    path = repository / MANIFEST_FILE
    if not path.is_file():
        return {}
    entries: dict[str, dict[str, object]] = json.loads(path.read_text())
    return entries


def record(repository: Path, artefact: Artefact) -> None:
    """Write an artefact's entry into the manifest, in place of an earlier one of the same file."""
    entries = read_manifest(repository) | {artefact.file: asdict(artefact)}
    text = json.dumps(dict(sorted(entries.items())), indent=2)
    (repository / MANIFEST_FILE).write_text(text + "\n")
