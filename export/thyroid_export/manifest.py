"""What each exported artefact is, and of what it was made: `manifest.json` of the repository."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from thyroid_export.onnx_graph import OPSET
from thyroid_export.parity import Parity
from thyroid_training.checkpoint import read_state_dict

MANIFEST_FILE = "manifest.json"

# The packages whose versions say how a file came about.
NETWORK_MAKERS = ("torch", "onnx")
FOREST_MAKERS = ("scikit-learn", "skl2onnx", "onnx")

# The operators of trees, whose parameters are attributes and not initialisers.
_TREES_DOMAIN = "ai.onnx.ml"


@dataclass(frozen=True)
class Artefact:
    """One exported file.

    Attributes:
        file: Its path within the repository.
        sha256: Of the file.
        weights_sha256: Of its parameters' names and values, whatever file they stand in.
        parameter_count: Number of parameters, statistics of batches included; of a forest, the
            number of its nodes, each of which holds the limit of a split or the value of a leaf.
        opset: ONNX opset.
        versions: Of the packages that made it, and of the interpreter.
        source: What the weights were trained on and how, as the run recorded it.
        parity: Its figures against what it was made of.
    """

    file: str
    sha256: str
    weights_sha256: str
    parameter_count: int
    opset: int
    versions: Mapping[str, str]
    source: Mapping[str, object]
    parity: tuple[Parity, ...]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights_sha256(path: Path) -> tuple[str, int]:
    """SHA-256 of an exported file's parameters, and their number.

    The hash runs over each name and its values, a network's in FP32, in order of names, so that two
    files with the same weights agree though their graphs differ.

    Raises:
        CheckpointError: The file holds neither parameters of a network nor trees.
    """
    trees, count = _tree_parameters(path)
    if not trees:
        state = read_state_dict(path)
        trees = {name: value.numpy() for name, value in state.items()}
        count = sum(value.numel() for value in state.values())
    digest = hashlib.sha256()
    for name, value in sorted(trees.items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest(), count


def _tree_parameters(path: Path) -> tuple[dict[str, npt.NDArray[np.generic]], int]:
    """The attributes of a file's trees, and the number of their nodes."""
    parameters = {
        f"{node.op_type}.{attribute.name}": np.atleast_1d(helper.get_attribute_value(attribute))
        for node in onnx.load(path).graph.node
        if node.domain == _TREES_DOMAIN
        for attribute in node.attribute
    }
    count = sum(value.size for name, value in parameters.items() if name.endswith("nodes_nodeids"))
    return parameters, count


def describe(
    repository: Path,
    path: Path,
    source: Mapping[str, object],
    parity: list[Parity],
    makers: tuple[str, ...] = NETWORK_MAKERS,
) -> Artefact:
    """Describe an exported file for the manifest.

    Args:
        repository: The model repository.
        path: The file, within it.
        source: The training run's record.
        parity: Figures of `check_parity` or `check_file`.
        makers: The packages that made it.

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
        versions={
            **{package: version(package) for package in makers},
            "python": platform.python_version(),
        },
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
