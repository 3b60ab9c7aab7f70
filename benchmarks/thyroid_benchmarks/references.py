"""The right answers, computed before the load, and how an answer under load is compared with them.

`expected.json` in the pool's folder holds, for each image that can be screened, what the offline
pipeline (PyTorch, one process, no Triton) answers. Computing them needs torch; reading them does
not, so that the process that makes the load stays light.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thyroid_benchmarks.pool import Pool, read_pool
from thyroid_client import AnswerError, RawAnswer, Screening
from thyroid_client._answers import Findings, read_answer
from thyroid_pipeline import contract
from thyroid_pipeline.mask_png import decode_mask

REFERENCE_FILE = "expected.json"
_MASKS = "expected_masks"

# How far two runtimes may be apart. Both sum the same products in another order, and a probability
# is rounded to one of 256 grey values in between; a wrong image's answer is far beyond these.
MALIGNANCY_TOLERANCE = 0.01
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
    """

    nodule_found: bool
    malignancy: float
    box: tuple[int, int, int, int]
    mask_png: bytes


@dataclass(frozen=True)
class References:
    """The right answers to a pool.

    Attributes:
        answers: By the case's index; corrupt ones have none.
        weights: Digest of the ONNX files that they were computed from.
    """

    answers: dict[int, Reference]
    weights: str


def weights_digest(model_repository: Path) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 over the networks' ONNX files."""
    digest = hashlib.sha256()
    for model in contract.NETWORKS:
        path = model_repository / model.name / contract.MODEL_VERSION / contract.ONNX_FILE
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def write_references(folder: Path, model_repository: Path, threads: int) -> None:
    """Answer every image of a pool offline and keep the answers in its folder.

    Raises:
        ImageError: An image that is not meant to be corrupt cannot be screened.
    """
    # Here: torch takes seconds to import, and the load's process does without.
    import torch  # noqa: PLC0415

    from thyroid_training.offline import OfflinePipeline  # noqa: PLC0415

    torch.set_num_threads(threads)
    pool = read_pool(folder)
    offline = OfflinePipeline.from_repository(model_repository)
    (folder / _MASKS).mkdir(exist_ok=True)
    answers = {}
    for case, content in zip(pool.cases, pool.contents, strict=True):
        if case.kind == "corrupt":
            continue
        answer = offline.screen(content)
        (folder / _MASKS / f"{case.index:05d}.png").write_bytes(answer.crop.mask)
        answers[str(case.index)] = {
            "nodule_found": bool(answer.crop.nodule_found),
            "malignancy": None if math.isnan(answer.malignancy) else float(answer.malignancy),
            "box": [int(value) for value in answer.crop.box],
        }
    document = {"weights": weights_digest(model_repository), "answers": answers}
    text = json.dumps(document, indent=1) + "\n"
    (folder / REFERENCE_FILE).write_text(text, encoding="utf-8")


def read_references(folder: Path) -> References | None:
    """Read the right answers of a pool; None where they were not computed."""
    path = folder / REFERENCE_FILE
    if not path.is_file():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    answers = {}
    for index, fields in document["answers"].items():
        x, y, width, height = fields["box"]
        answers[int(index)] = Reference(
            nodule_found=fields["nodule_found"],
            malignancy=math.nan if fields["malignancy"] is None else fields["malignancy"],
            box=(x, y, width, height),
            mask_png=(folder / _MASKS / f"{int(index):05d}.png").read_bytes(),
        )
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
    """Say what is wrong with an answer that has been read, mask included."""
    malignancy = math.nan if findings.malignancy is None else findings.malignancy
    box = (0, 0, 0, 0) if findings.box is None else findings.box.as_tuple()
    if fault := _fault(findings.nodule_found, malignancy, np.asarray(box), wanted):
        return fault
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


def _fault(
    nodule_found: bool, malignancy: float, box: npt.NDArray[Any], wanted: Reference
) -> str | None:
    if nodule_found != wanted.nodule_found:
        return f"nodule_found is {nodule_found}, wanted {wanted.nodule_found}"
    if math.isnan(malignancy) != math.isnan(wanted.malignancy):
        return f"malignancy is {malignancy}, wanted {wanted.malignancy}"
    if abs(malignancy - wanted.malignancy) > MALIGNANCY_TOLERANCE:
        return f"malignancy is {malignancy:.4f}, wanted {wanted.malignancy:.4f}"
    if np.abs(box - np.asarray(wanted.box)).max() > BOX_TOLERANCE_PX:
        return f"box is {box.tolist()}, wanted {list(wanted.box)}"
    return None


def _content(answer: RawAnswer, tensor: contract.Tensor) -> bytes | None:
    wanted_bytes = math.prod(tensor.shape) * tensor.data_type.numpy.itemsize
    for raw in answer.tensors:
        if raw.name == tensor.name:
            return raw.content if len(raw.content) == wanted_bytes else None
    return None
