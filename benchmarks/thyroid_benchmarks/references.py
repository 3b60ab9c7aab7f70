"""The right answers to a pool, and how an answer under load is compared with them.

`expected.json` in the pool's folder holds, for each image that can be screened, what the offline
pipeline (PyTorch, one process, no Triton; the forest by ONNX Runtime) answers. `reference_writing`
computes them, which needs torch; reading them does not, so that the process that makes the load
stays light.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from thyroid_benchmarks.pool import Pool
from thyroid_client import AnswerError, RawAnswer, Screening
from thyroid_client._answers import Findings, read_answer
from thyroid_pipeline import contract
from thyroid_pipeline.mask_png import decode_mask

REFERENCE_FILE = "expected.json"
MASK_FOLDER = "expected_masks"

# How far two runtimes may be apart. Both sum the same products in another order, and a probability
# is rounded to one of 256 grey values in between; a wrong image's answer is far beyond these.
MALIGNANCY_TOLERANCE = 0.01
# Beyond what a grey value more or less of the map brings, see `Reference`.
FOREST_TOLERANCE = 0.05
OOD_SCORE_TOLERANCE = 0.02
BOX_TOLERANCE_PX = 2
LEAST_MASK_DICE = 0.99


@dataclass(frozen=True)
class Reference:
    """What the offline pipeline answers to one image.

    Attributes:
        nodule_found: Whether there is a nodule.
        malignancy: 0 to 1; NaN where none is given.
        box: x, y, width, height in pixels.
        mask_png: The mask as a 1-bit PNG.
        decisions: What may be decided: one, or two where the malignancy is so near to a threshold
            that it may fall on either side.
        ood_score: At least 0.
        forest_range: The least and the greatest forest_malignancy, 0 to 1, over the map itself and
            those with one grey value more and less: figures of shape that fall on the other side of
            a split turn the votes of many trees at once. NaN where none is given.
    """

    nodule_found: bool
    malignancy: float
    box: tuple[int, int, int, int]
    mask_png: bytes
    decisions: frozenset[contract.Decision]
    ood_score: float
    forest_range: tuple[float, float]


@dataclass(frozen=True)
class References:
    """The right answers to a pool.

    Attributes:
        answers: By the case's index; corrupt ones have none.
        weights: Digest of what they were computed from, see `weights_digest`.
    """

    answers: dict[int, Reference]
    weights: str


def weights_digest(model_repository: Path) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 over all that makes an answer.

    That is every ONNX file, the forest's included, and the cropper's parameters for the CPU
    profile.
    """
    digest = hashlib.sha256()
    for model in (*contract.NETWORKS, contract.MORPHOLOGY_FOREST):
        path = model_repository / model.name / contract.MODEL_VERSION / contract.ONNX_FILE
        digest.update(path.read_bytes())
    folder = model_repository / contract.ROI_CROPPER.name / "configs"
    text = (folder / f"{contract.CPU_PROFILE}.pbtxt").read_text(encoding="utf-8")
    parameters = text_format.Parse(text, ModelConfig()).parameters
    said = {name: parameters[name].string_value for name in sorted(parameters)}
    digest.update(json.dumps(said).encode())
    return digest.hexdigest()[:16]


def read_references(folder: Path) -> References | None:
    """Read the right answers of a pool; None where they were not computed, or not all of them."""
    path = folder / REFERENCE_FILE
    if not path.is_file():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    try:
        answers = {
            int(index): _reference(fields, folder / MASK_FOLDER / f"{int(index):05d}.png")
            for index, fields in document["answers"].items()
        }
    except KeyError:  # a field is missing
        return None
    return References(answers, document["weights"])


def quick_fault(answer: RawAnswer, wanted: Reference | None) -> str | None:
    """Say what is wrong with an answer, from its few small tensors: microseconds, for every answer.

    Args:
        answer: As it came.
        wanted: The right answer; None checks only that the tensors are there.

    Returns:
        What is wrong; None where nothing is.
    """
    found_raw = _content(answer, contract.NODULE_FOUND)
    malignancy_raw = _content(answer, contract.MALIGNANCY)
    box_raw = _content(answer, contract.BOX)
    if found_raw is None or malignancy_raw is None or box_raw is None:
        return "an output is missing or has the wrong length"
    if wanted is None:
        return None
    malignancy = float(np.frombuffer(malignancy_raw, contract.MALIGNANCY.data_type.numpy)[0])
    box = np.frombuffer(box_raw, contract.BOX.data_type.numpy)
    return _fault(bool(found_raw[0]), malignancy, box, wanted)


def full_fault(answer: RawAnswer, wanted: Reference) -> str | None:
    """Say what is wrong with an answer, read by the client's own strict reading, mask included."""
    try:
        findings = read_answer(answer)
    except AnswerError as error:
        return str(error)
    return findings_fault(findings, wanted)


def findings_fault(findings: Findings | Screening, wanted: Reference) -> str | None:
    """Say what is wrong with an answer that has been read: every output but figures and map."""
    malignancy = _or_nan(findings.malignancy)
    box = (0, 0, 0, 0) if findings.box is None else findings.box.as_tuple()
    if fault := _fault(findings.nodule_found, malignancy, np.asarray(box), wanted):
        return fault
    if findings.decision not in wanted.decisions:
        said = " or ".join(decision.label for decision in sorted(wanted.decisions))
        return f"decision is {findings.decision.label}, wanted {said}"
    if abs(findings.ood_score - wanted.ood_score) > OOD_SCORE_TOLERANCE:
        return f"ood_score is {findings.ood_score:.3f}, wanted {wanted.ood_score:.3f}"
    forest = _or_nan(findings.forest_malignancy)
    least, most = wanted.forest_range
    apart = max(least - forest, forest - most)
    if math.isnan(forest) != math.isnan(least) or apart > FOREST_TOLERANCE:
        return f"forest_malignancy is {forest:.3f}, wanted {least:.3f} to {most:.3f}"
    mask = decode_mask(wanted.mask_png)
    if mask.shape != findings.mask.shape:
        return f"the mask has the shape {findings.mask.shape}, wanted {mask.shape}"
    both = int(mask.sum()) + int(findings.mask.sum())
    dice = 2 * int((mask & findings.mask).sum()) / both if both else 1.0
    if dice < LEAST_MASK_DICE:
        return f"the masks have a Dice of {dice:.3f}, wanted {LEAST_MASK_DICE} or more"
    return None


def fits(pool: Pool, references: References) -> bool:
    """Whether there is a right answer to every image that can be screened."""
    return all(case.kind == "corrupt" or case.index in references.answers for case in pool.cases)


def _reference(fields: Mapping[str, Any], mask: Path) -> Reference:
    x, y, width, height = fields["box"]
    return Reference(
        nodule_found=fields["nodule_found"],
        malignancy=_or_nan(fields["malignancy"]),
        box=(x, y, width, height),
        mask_png=mask.read_bytes(),
        decisions=frozenset(map(contract.Decision, fields["decisions"])),
        ood_score=fields["ood_score"],
        forest_range=tuple(fields["forest_range"] or (math.nan, math.nan)),
    )


def _fault(
    nodule_found: bool, malignancy: float, box: npt.NDArray[Any], wanted: Reference
) -> str | None:
    if nodule_found != wanted.nodule_found:
        return f"nodule_found is {nodule_found}, wanted {wanted.nodule_found}"
    if _differ(malignancy, wanted.malignancy, MALIGNANCY_TOLERANCE):
        return f"malignancy is {malignancy:.4f}, wanted {wanted.malignancy:.4f}"
    if np.abs(box - np.asarray(wanted.box)).max() > BOX_TOLERANCE_PX:
        return f"box is {box.tolist()}, wanted {list(wanted.box)}"
    return None


def _differ(value: float, wanted: float, tolerance: float) -> bool:
    """Whether one of two is a number and the other none, or both are and far apart."""
    return math.isnan(value) != math.isnan(wanted) or abs(value - wanted) > tolerance


def _or_nan(number: float | None) -> float:
    return math.nan if number is None else number


def _content(answer: RawAnswer, tensor: contract.Tensor) -> bytes | None:
    wanted_bytes = math.prod(tensor.shape) * tensor.data_type.numpy.itemsize
    for raw in answer.tensors:
        if raw.name == tensor.name:
            return raw.content if len(raw.content) == wanted_bytes else None
    return None
