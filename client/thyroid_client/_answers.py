"""From the raw answer of a server to a `Screening`, with nothing taken on trust."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.utils import deserialize_bytes_tensor

from thyroid_client.errors import AnswerError
from thyroid_client.screening import Box, Morphology
from thyroid_client.transport import RawAnswer, RawTensor
from thyroid_pipeline import contract
from thyroid_pipeline.contract import Decision
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.mask_png import decode_mask

# Where there is no opinion on malignancy and no evidence, and why.
_WITHOUT_OPINION = {
    Decision.NO_NODULE: "no nodule was found",
    Decision.OUT_OF_DISTRIBUTION: "the image is out of distribution",
}


@dataclass(frozen=True, eq=False)
class Findings:
    """The part of a `Screening` that stands in the answer itself; same names, same meaning."""

    decision: Decision
    nodule_found: bool
    malignancy: float | None
    forest_malignancy: float | None
    ood_score: float
    mask: npt.NDArray[np.bool_]
    box: Box | None
    morphology: Morphology | None
    evidence: npt.NDArray[np.float32] | None


def read_answer(answer: RawAnswer) -> Findings:
    """Read the answer to one image.

    Every output of the contract must be there, of its type and its shape with a batch of 1, and
    they must agree with each other: a mask, a box and figures with a nodule, none without; a
    decision that nodule and out-of-distribution score allow; both opinions and the evidence where
    there is a nodule in distribution, none elsewhere. Outputs that the contract does not know are
    left alone, so that a newer server may answer more.

    Args:
        answer: As it came.

    Returns:
        What the answer says; its arrays are read-only.

    Raises:
        AnswerError: The answer is no screening by the contract.
    """
    found = bool(_array(answer, contract.NODULE_FOUND)[0])
    ood_score = float(_array(answer, contract.OOD_SCORE)[0])
    decision = _decision(int(_array(answer, contract.DECISION)[0]), found, ood_score)
    why_no_opinion = _WITHOUT_OPINION.get(decision)
    malignancy = _opinion(answer, contract.MALIGNANCY, why_no_opinion)
    forest_malignancy = _opinion(answer, contract.FOREST_MALIGNANCY, why_no_opinion)
    evidence = _evidence(answer, why_no_opinion)
    box = Box(*(int(value) for value in _array(answer, contract.BOX)))
    mask = _mask(answer)
    figures = _array(answer, contract.MORPHOLOGY)
    if found:
        _check_nodule(mask, box, figures)
    else:
        _check_no_nodule(mask, box, figures)
    return Findings(
        decision=decision,
        nodule_found=found,
        malignancy=malignancy,
        forest_malignancy=forest_malignancy,
        ood_score=ood_score,
        mask=mask,
        box=box if found else None,
        morphology=Morphology(tuple(figures.tolist())) if found else None,
        evidence=evidence,
    )


def _decision(value: int, found: bool, ood_score: float) -> Decision:
    """Return the decision once it is the one, or one of those, that the rest of the answer allows.

    Where the operating point lies is the server's to know: which of the three decisions about a
    nodule it is, is taken as it comes.
    """
    if not (math.isfinite(ood_score) and ood_score >= 0):
        raise _unfit(contract.OOD_SCORE, f"is {ood_score}")
    try:
        decision = Decision(value)
    except ValueError:
        raise _unfit(contract.DECISION, f"is {value}") from None
    if ood_score > contract.OOD_LIMIT:
        fits, why = decision is Decision.OUT_OF_DISTRIBUTION, "is above"
    elif not found:
        fits, why = decision is Decision.NO_NODULE, "is not above"
    else:
        fits, why = decision not in _WITHOUT_OPINION, "is not above"
    if not fits:
        nodule = "a nodule was found" if found else "no nodule was found"
        raise _unfit(
            contract.DECISION,
            f"is {value} ({decision.label}) though {nodule} and `{contract.OOD_SCORE.name}` "
            f"(={ood_score:g}) {why} {contract.OOD_LIMIT:g}",
        )
    return decision


def _opinion(answer: RawAnswer, tensor: contract.Tensor, why_none: str | None) -> float | None:
    """Return a probability, or None where there must not be one."""
    value = float(_array(answer, tensor)[0])
    if why_none is None:
        if not 0 <= value <= 1:  # NaN is not, either
            raise _unfit(tensor, f"is {value} though there is a nodule to judge")
        return value
    if not math.isnan(value):
        raise _unfit(tensor, f"is {value} though {why_none}")
    return None


def _evidence(answer: RawAnswer, why_none: str | None) -> npt.NDArray[np.float32] | None:
    evidence = _array(answer, contract.EVIDENCE)
    if not np.isfinite(evidence).all():
        raise _unfit(contract.EVIDENCE, "holds numbers that are not finite")
    if why_none is None:
        return evidence
    if evidence.any():
        raise _unfit(contract.EVIDENCE, f"is not 0 throughout though {why_none}")
    return None


def _check_no_nodule(
    mask: npt.NDArray[np.bool_], box: Box, figures: npt.NDArray[np.float32]
) -> None:
    if mask.any():
        raise _unfit(contract.MASK, "shows a nodule though none was found")
    if any(box.as_tuple()):
        raise _unfit(contract.BOX, f"is {box.as_tuple()} though no nodule was found")
    if not np.isnan(figures).all():
        raise _unfit(contract.MORPHOLOGY, "holds figures though no nodule was found")


def _check_nodule(mask: npt.NDArray[np.bool_], box: Box, figures: npt.NDArray[np.float32]) -> None:
    if not mask.any():
        raise _unfit(contract.MASK, "is empty though a nodule was found")
    height, width = mask.shape
    x, y, box_width, box_height = box.as_tuple()
    inside = x >= 0 and y >= 0 and x + box_width <= width and y + box_height <= height
    if not inside or box_width < 1 or box_height < 1:
        raise _unfit(contract.BOX, f"is {box.as_tuple()} in an image of {width} x {height} pixels")
    if np.isinf(figures).any():
        raise _unfit(contract.MORPHOLOGY, "holds infinite figures")


def _array(answer: RawAnswer, tensor: contract.Tensor) -> npt.NDArray[Any]:
    """Return a tensor of fixed-size elements without its batch axis, read-only."""
    raw = _find(answer, tensor)
    data_type = tensor.data_type.numpy
    wanted_bytes = math.prod(tensor.shape) * data_type.itemsize
    if len(raw.content) != wanted_bytes:
        raise _unfit(tensor, f"has {len(raw.content)} bytes instead of {wanted_bytes}")
    return np.frombuffer(raw.content, data_type).reshape(tensor.shape)


def _mask(answer: RawAnswer) -> npt.NDArray[np.bool_]:
    raw = _find(answer, contract.MASK)
    try:
        elements = deserialize_bytes_tensor(raw.content)
    except struct.error as error:
        raise _unfit(contract.MASK, f"has {len(raw.content)} bytes that are cut short") from error
    if elements.size != 1:
        raise _unfit(contract.MASK, f"holds {elements.size} elements instead of 1")
    try:
        mask = decode_mask(elements[0])
    except ImageError as error:
        raise _unfit(contract.MASK, f"cannot be read: {error}") from error
    mask.flags.writeable = False
    return mask


def _find(answer: RawAnswer, tensor: contract.Tensor) -> RawTensor:
    """Return the raw tensor of this name once its type and shape are what the contract says."""
    raws = [raw for raw in answer.tensors if raw.name == tensor.name]
    if len(raws) != 1:
        raise _unfit(tensor, f"came {len(raws)} times")
    raw = raws[0]
    if raw.data_type != tensor.data_type.value:
        raise _unfit(tensor, f"is of type {raw.data_type}")
    if raw.shape != (1, *tensor.shape):
        raise _unfit(tensor, f"has the shape {list(raw.shape)}")
    return raw


def _unfit(tensor: contract.Tensor, came: str) -> AnswerError:
    return AnswerError(
        f"output `{tensor.name}` of the answer {came}; {tensor.data_type.value} "
        f"{[1, *tensor.shape]} was wanted ({tensor.meaning}): check that server and client are of "
        "the same version, and see the server's log"
    )
