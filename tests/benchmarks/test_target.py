"""Which answers count as right: fakes of the transport say what a server might."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from PIL import Image

from thyroid_benchmarks.pool import Case, Pool
from thyroid_benchmarks.references import Reference, References, quick_fault
from thyroid_benchmarks.target import NOT_REFUSED, OK, WRONG_ANSWER, ScreeningTarget
from thyroid_client import ImageRejected, RawAnswer, RawTensor, ServerOverloaded
from thyroid_pipeline import contract

POOL = Pool(
    (Case(0, "nodule", "PNG", 80, 120), Case(1, "corrupt", "black", 0, 0)), (b"good", b"bad"), 1
)
BOX = (30, 20, 40, 24)


def mask_png(shift_px: int = 0) -> bytes:
    mask = np.zeros((80, 120), bool)
    mask[20:44, 30 + shift_px : 70 + shift_px] = True
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


REFER, UNCERTAIN = contract.Decision.REFER, contract.Decision.UNCERTAIN
RIGHT = References(
    {0: Reference(True, 0.75, BOX, mask_png(), frozenset({REFER}), 0.0, (0.4, 0.5))}, "digest"
)


def answer(
    *,
    found: bool = True,
    malignancy: float = 0.75,
    box: tuple[int, ...] = BOX,
    mask: bytes | None = None,
    forest: float = 0.5,
    decision: contract.Decision = REFER,
    ood_score: float = 0.0,
) -> RawAnswer:
    """Every output of the contract; those that are not compared hold zeros."""
    png = mask_png() if mask is None else mask
    said: Mapping[str, bytes] = {
        contract.NODULE_FOUND.name: struct.pack("<?", found),
        contract.MALIGNANCY.name: struct.pack("<f", malignancy),
        contract.BOX.name: struct.pack("<4i", *box),
        contract.MASK.name: struct.pack("<I", len(png)) + png,
        contract.FOREST_MALIGNANCY.name: struct.pack("<f", forest),
        contract.DECISION.name: struct.pack("<i", decision),
        contract.OOD_SCORE.name: struct.pack("<f", ood_score),
    }
    tensors = []
    for tensor in contract.ENSEMBLE.outputs:
        size = int(np.prod(tensor.shape)) * tensor.data_type.numpy.itemsize
        content = said.get(tensor.name, bytes(size))
        tensors.append(RawTensor(tensor.name, tensor.data_type.value, (1, *tensor.shape), content))
    return RawAnswer(contract.ENSEMBLE.name, "1", tuple(tensors))


class FakeTransport:
    def __init__(self, behaviour: Callable[[bytes], RawAnswer]) -> None:
        self.behaviour = behaviour
        self.images: list[bytes] = []
        self.closed = False

    async def infer(self, image: bytes, *, timeout_s: float) -> RawAnswer:
        assert timeout_s > 0
        self.images.append(image)
        return self.behaviour(image)

    async def is_ready(self, *, timeout_s: float) -> bool:
        return True

    async def model_versions(self, *, timeout_s: float) -> Mapping[str, str]:
        return {}

    async def close(self) -> None:
        self.closed = True


def saying(what: RawAnswer | Exception) -> FakeTransport:
    def behave(_: bytes) -> RawAnswer:
        if isinstance(what, Exception):
            raise what
        return what

    return FakeTransport(behave)


async def outcome(what: RawAnswer | Exception, index: int) -> str:
    return await ScreeningTarget([saying(what)], POOL, RIGHT).send(index)


async def test_the_right_answer_is_a_success() -> None:
    assert await outcome(answer(), 0) == OK


@pytest.mark.parametrize(
    "wrong",
    [
        answer(found=False, malignancy=float("nan"), box=(0, 0, 0, 0)),
        answer(malignancy=0.77),
        answer(malignancy=float("nan")),
        answer(box=(33, 20, 40, 24)),
        RawAnswer(contract.ENSEMBLE.name, "1", ()),
    ],
)
async def test_a_wrong_answer_is_a_failure(wrong: RawAnswer) -> None:
    assert await outcome(wrong, 0) == WRONG_ANSWER


async def test_a_corrupt_image_must_be_refused() -> None:
    assert await outcome(ImageRejected("black"), 1) == OK
    assert await outcome(answer(), 1) == NOT_REFUSED
    assert await outcome(ServerOverloaded("full"), 1) == "ServerOverloaded"


async def test_a_refused_good_image_is_a_failure() -> None:
    assert await outcome(ImageRejected("no"), 0) == "ImageRejected"
    assert await outcome(ServerOverloaded("full"), 0) == "ServerOverloaded"


async def test_kept_answers_are_compared_mask_included() -> None:
    shifted = ScreeningTarget([saying(answer(mask=mask_png(shift_px=2)))], POOL, RIGHT, 2)
    for _ in range(5):
        assert await shifted.send(0) == OK  # the quick look sees no mask
    count, faults = shifted.compare_kept()
    assert (count, len(faults)) == (3, 3)
    assert "Dice of 0.950" in faults[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (answer(decision=UNCERTAIN), "decision is uncertain, wanted refer"),
        (answer(forest=0.6), "forest_malignancy is 0.600, wanted 0.400 to 0.500"),
        (answer(forest=0.3), "forest_malignancy is 0.300, wanted 0.400 to 0.500"),
        (answer(forest=math.nan), "forest_malignancy"),
        (answer(ood_score=0.5), "ood_score is 0.500, wanted 0.000"),
    ],
    ids=["decision", "forest above", "forest below", "no forest", "gate"],
)
async def test_kept_answers_are_compared_in_all_that_follows(given: RawAnswer, words: str) -> None:
    target = ScreeningTarget([saying(given)], POOL, RIGHT, 1)
    assert await target.send(0) == OK
    (fault,) = target.compare_kept()[1]
    assert words in fault


@pytest.mark.parametrize("forest", [0.36, 0.4, 0.5, 0.54])
async def test_equal_answers_have_no_fault(forest: float) -> None:
    """The forest's may lie anywhere between what a map's rounding makes of it."""
    target = ScreeningTarget([saying(answer(forest=forest))], POOL, RIGHT, 1)
    assert await target.send(0) == OK
    assert target.compare_kept() == (1, [])


async def test_without_right_answers_only_the_form_is_checked() -> None:
    target = ScreeningTarget([saying(answer(malignancy=0.1))], POOL, None, 1)
    assert await target.send(0) == OK
    assert target.compare_kept() == (0, [])
    assert quick_fault(RawAnswer("x", "1", ()), None) is not None


async def test_connections_are_used_in_turn_and_closed() -> None:
    transports = [saying(answer()) for _ in range(3)]
    target = ScreeningTarget(transports, POOL, RIGHT)
    for _ in range(7):
        await target.send(0)
    assert [len(transport.images) for transport in transports] == [3, 2, 2]
    await target.close()
    assert all(transport.closed for transport in transports)
