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
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.mask_png import decode_mask


@dataclass(frozen=True, eq=False)
class Findings:
    """The part of a `Screening` that stands in the answer itself; same names, same meaning."""

    nodule_found: bool
    malignancy: float | None
    mask: npt.NDArray[np.bool_]
    box: Box | None
    morphology: Morphology | None
    evidence: npt.NDArray[np.float32] | None


def read_answer(answer: RawAnswer) -> Findings:
    """Read the answer to one image.

    Every output of the contract must be there, of its type and its shape with a batch of 1, and
    they must agree with each other: a mask, a box and a probability with a nodule, none without.
    Outputs that the contract does not know are left alone, so that a newer server may answer more.

    Args:
        answer: As it came.

    Returns:
        What the answer says; its arrays are read-only.

    Raises:
        AnswerError: The answer is no screening by the contract.
    """
    found = bool(_array(answer, contract.NODULE_FOUND)[0])
    malignancy = float(_array(answer, contract.MALIGNANCY)[0])
    box = Box(*(int(value) for value in _array(answer, contract.BOX)))
    mask = _mask(answer)
    figures = _array(answer, contract.MORPHOLOGY)
    evidence = _array(answer, contract.EVIDENCE)
    if not np.isfinite(evidence).all():
        raise _unfit(contract.EVIDENCE, "holds numbers that are not finite")
    if np.isinf(figures).any():
        raise _unfit(contract.MORPHOLOGY, "holds infinite figures")
    if not found:
        _check_without_nodule(malignancy, mask, box)
        return Findings(
            nodule_found=False, malignancy=None, mask=mask, box=None, morphology=None, evidence=None
        )
    _check_with_nodule(malignancy, mask, box)
    return Findings(
        nodule_found=True,
        malignancy=malignancy,
        mask=mask,
        box=box,
        morphology=Morphology(tuple(figures.tolist())),
        evidence=evidence,
    )


def _check_without_nodule(malignancy: float, mask: npt.NDArray[np.bool_], box: Box) -> None:
    if not math.isnan(malignancy):
        raise _unfit(contract.MALIGNANCY, f"is {malignancy} though no nodule was found")
    if mask.any():
        raise _unfit(contract.MASK, "shows a nodule though none was found")
    if any(box.as_tuple()):
        raise _unfit(contract.BOX, f"is {box.as_tuple()} though no nodule was found")


def _check_with_nodule(malignancy: float, mask: npt.NDArray[np.bool_], box: Box) -> None:
    if not 0 <= malignancy <= 1:
        raise _unfit(contract.MALIGNANCY, f"is {malignancy}")
    if not mask.any():
        raise _unfit(contract.MASK, "is empty though a nodule was found")
    height, width = mask.shape
    x, y, box_width, box_height = box.as_tuple()
    inside = x >= 0 and y >= 0 and x + box_width <= width and y + box_height <= height
    if not inside or box_width < 1 or box_height < 1:
        raise _unfit(contract.BOX, f"is {box.as_tuple()} in an image of {width} x {height} pixels")


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
