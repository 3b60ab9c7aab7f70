"""Reading answers: what fits is read exactly, what is malformed is refused with its reason."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thyroid_client import AnswerError, Box, Decision, RawAnswer, RawTensor
from thyroid_client._answers import Findings, read_answer
from thyroid_pipeline import contract

NAMES = [tensor.name for tensor in contract.ENSEMBLE.outputs]
SHAPES = {tensor.name: (1, *tensor.shape) for tensor in contract.ENSEMBLE.outputs}
TYPES = {tensor.name: tensor.data_type.value for tensor in contract.ENSEMBLE.outputs}


def answer_of(tensors: list[RawTensor]) -> RawAnswer:
    return RawAnswer("thyroid_screening", "1", tuple(tensors))


def changed(tensors: list[RawTensor], name: str, **changes: Any) -> RawAnswer:
    return answer_of([replace(t, **changes) if t.name == name else t for t in tensors])


def test_a_nodule_is_read_exactly(fake: SimpleNamespace) -> None:
    findings = read_answer(fake.NODULE.answer())
    assert findings.decision is Decision.REFER
    assert findings.nodule_found is True
    assert findings.malignancy == 0.75
    assert findings.forest_malignancy == 0.5
    assert findings.ood_score == 0.25
    assert findings.box == Box(x_px=30, y_px=20, width_px=40, height_px=24)
    np.testing.assert_array_equal(findings.mask, fake.box_mask())
    assert findings.mask.dtype == bool
    assert findings.evidence is not None
    np.testing.assert_array_equal(findings.evidence, fake.EVIDENCE)
    assert findings.morphology is not None
    assert findings.morphology.figures == fake.NODULE.morphology


def test_no_nodule_is_an_answer(fake: SimpleNamespace) -> None:
    findings = read_answer(fake.NO_NODULE.answer())
    assert findings.decision is Decision.NO_NODULE
    assert findings.nodule_found is False
    assert findings.mask.shape == (fake.HEIGHT, fake.WIDTH)
    assert not findings.mask.any()
    assert findings.malignancy is findings.forest_malignancy is None
    assert findings.evidence is None
    assert findings.box is None
    assert findings.morphology is None


def test_out_of_distribution_keeps_what_was_found_and_no_number(fake: SimpleNamespace) -> None:
    findings = read_answer(fake.FOREIGN.answer())
    assert findings.decision is Decision.OUT_OF_DISTRIBUTION
    assert findings.malignancy is findings.forest_malignancy is None
    assert findings.evidence is None
    assert findings.ood_score == 2.5
    assert findings.nodule_found is True
    assert findings.box == Box(x_px=30, y_px=20, width_px=40, height_px=24)
    np.testing.assert_array_equal(findings.mask, fake.box_mask())
    assert findings.morphology is not None
    assert findings.morphology.figures == fake.FOREIGN.morphology


def test_out_of_distribution_without_a_nodule(fake: SimpleNamespace) -> None:
    findings = read_answer(fake.FOREIGN_AND_EMPTY.answer())
    assert findings.decision is Decision.OUT_OF_DISTRIBUTION
    assert findings.nodule_found is False
    assert findings.malignancy is findings.forest_malignancy is None
    assert findings.evidence is None
    assert findings.box is None
    assert findings.morphology is None


def test_arrays_cannot_be_written_to(fake: SimpleNamespace) -> None:
    findings = read_answer(fake.NODULE.answer())
    assert findings.evidence is not None
    for array in (findings.mask, findings.evidence):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


def test_a_figure_that_cannot_be_measured_is_nan(fake: SimpleNamespace) -> None:
    figures = [1.0] * len(contract.MORPHOLOGY_FIELDS)
    figures[contract.MORPHOLOGY_FIELDS.index("posterior_ratio")] = math.nan
    findings = read_answer(fake.NODULE.but(morphology=tuple(figures)).answer())
    assert findings.morphology is not None
    assert math.isnan(findings.morphology.posterior_ratio)
    assert findings.morphology.area_px2 == 1


def test_order_and_further_outputs_do_not_matter(fake: SimpleNamespace) -> None:
    tensors = fake.NODULE.tensors()[::-1]
    tensors.insert(2, RawTensor("segmentation_ms", "FP32", (1, 1), b"\0\0\0\0"))
    assert read_answer(answer_of(tensors)).malignancy == 0.75


@pytest.mark.parametrize("name", NAMES)
class TestEachTensor:
    def test_missing(self, fake: SimpleNamespace, name: str) -> None:
        tensors = [t for t in fake.NODULE.tensors() if t.name != name]
        with pytest.raises(AnswerError, match=f"output `{name}` of the answer came 0 times"):
            read_answer(answer_of(tensors))

    def test_twice(self, fake: SimpleNamespace, name: str) -> None:
        tensors = fake.NODULE.tensors()
        again = [t for t in tensors if t.name == name]
        with pytest.raises(AnswerError, match=f"`{name}` of the answer came 2 times"):
            read_answer(answer_of(tensors + again))

    def test_zero_bytes(self, fake: SimpleNamespace, name: str) -> None:
        """What a Python model under numpy 2 answers, without any error."""
        with pytest.raises(AnswerError, match=f"output `{name}` .* instead of"):
            read_answer(changed(fake.NODULE.tensors(), name, content=b""))

    @given(shape=st.lists(st.integers(0, 9), max_size=5).map(tuple))
    def test_wrong_shape(self, fake: SimpleNamespace, name: str, shape: tuple[int, ...]) -> None:
        if shape == SHAPES[name]:
            return
        with pytest.raises(AnswerError, match=f"output `{name}` of the answer has the shape"):
            read_answer(changed(fake.NODULE.tensors(), name, shape=shape))

    @given(data_type=st.sampled_from(["BOOL", "UINT8", "INT32", "INT64", "FP16", "FP32", "BYTES"]))
    def test_wrong_type(self, fake: SimpleNamespace, name: str, data_type: str) -> None:
        if data_type == TYPES[name]:
            return
        with pytest.raises(AnswerError, match=f"output `{name}` of the answer is of type"):
            read_answer(changed(fake.NODULE.tensors(), name, data_type=data_type))

    @given(extra=st.integers(-40, 40).filter(bool))
    def test_wrong_length(self, fake: SimpleNamespace, name: str, extra: int) -> None:
        (tensor,) = (t for t in fake.NODULE.tensors() if t.name == name)
        content = tensor.content[:extra] if extra < 0 else tensor.content + b"\1" * extra
        with pytest.raises(AnswerError, match=f"output `{name}` of the answer"):
            read_answer(changed(fake.NODULE.tensors(), name, content=content))

    @given(content=st.binary(max_size=300))
    def test_any_bytes_are_read_or_refused(
        self, fake: SimpleNamespace, name: str, content: bytes
    ) -> None:
        try:
            findings = read_answer(changed(fake.NODULE.tensors(), name, content=content))
        except AnswerError:
            return
        assert isinstance(findings, Findings)
        assert findings.nodule_found
        assert findings.malignancy is not None
        assert 0 <= findings.malignancy <= 1


def test_a_mask_that_is_no_one_bit_png(fake: SimpleNamespace) -> None:
    grey = fake.png(fake.grey_image())
    content = struct.pack("<I", len(grey)) + grey
    with pytest.raises(AnswerError, match=r"`mask` .* cannot be read: .* 1-bit PNG was wanted"):
        read_answer(changed(fake.NODULE.tensors(), "mask", content=content))


def test_a_mask_of_two_elements(fake: SimpleNamespace) -> None:
    (mask,) = (t for t in fake.NODULE.tensors() if t.name == "mask")
    with pytest.raises(AnswerError, match="`mask` of the answer holds 2 elements instead of 1"):
        read_answer(changed(fake.NODULE.tensors(), "mask", content=mask.content * 2))
