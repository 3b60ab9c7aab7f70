"""The glue: each request answered on its own, whatever the step does, and nothing ever raised."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pictures import phantom_png
from thyroid_pipeline import contract
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.steps import Arrays, decode_batch
from thyroid_pipeline.triton_glue import answer_requests


class Tensor:
    def __init__(self, name: str, values: NDArray[np.generic]) -> None:
        self.name, self.values = name, values

    def as_numpy(self) -> NDArray[np.generic]:
        return self.values


class TritonError:
    INTERNAL, INVALID_ARG = 1, 2

    def __init__(self, message: str, code: int = INTERNAL) -> None:
        self.message, self.code = message, code


class InferenceResponse:
    def __init__(self, output_tensors: list[Tensor], error: TritonError | None = None) -> None:
        self.output_tensors, self.error = output_tensors, error


class PbUtils:
    """What the server's `triton_python_backend_utils` is to the glue."""

    Tensor, TritonError, InferenceResponse = Tensor, TritonError, InferenceResponse

    def __init__(self) -> None:
        self.logged: list[str] = []
        self.Logger = SimpleNamespace(log_error=self.logged.append)

    @staticmethod
    def get_input_tensor_by_name(request: dict[str, Any], name: str) -> Any:
        return Tensor(name, request[name]) if name in request else None


@pytest.fixture
def pb_utils() -> PbUtils:
    return PbUtils()


def request_of(*pictures: bytes) -> dict[str, NDArray[np.object_]]:
    batch = np.empty((len(pictures), 1), np.object_)
    batch[:, 0] = pictures
    return {contract.IMAGE.name: batch}


GOOD = phantom_png(0)


def test_a_bad_request_among_good_ones_fails_alone(pb_utils: PbUtils) -> None:
    requests = [request_of(GOOD), request_of(GOOD, b"text"), request_of(GOOD, GOOD, GOOD)]
    responses = answer_requests(pb_utils, contract.FRAME_DECODER, decode_batch, requests)
    assert [response.error is None for response in responses] == [True, False, True]
    assert responses[1].error.code == TritonError.INVALID_ARG
    assert responses[1].error.message.startswith("image 2 of 2: 4 bytes starting with 74 65 78 74")
    assert not responses[1].output_tensors
    for response, count in ((responses[0], 1), (responses[2], 3)):
        outputs = {tensor.name: tensor.values for tensor in response.output_tensors}
        assert list(outputs) == [tensor.name for tensor in contract.FRAME_DECODER.outputs]
        for tensor in contract.FRAME_DECODER.outputs:
            assert outputs[tensor.name].shape == (count, *tensor.shape)
            assert outputs[tensor.name].dtype == tensor.data_type.numpy
    assert not pb_utils.logged


def test_answers_come_in_the_order_of_the_requests(pb_utils: PbUtils) -> None:
    def count(inputs: Any) -> Arrays:
        rows = len(inputs[contract.ROI.name])
        return {
            "malignancy": np.full((rows, 1), rows),
            "evidence": np.zeros((rows, *contract.EVIDENCE.shape)),
            "decision": np.ones((rows, 1)),
        }

    requests = [
        {tensor.name: np.zeros((rows, *tensor.shape)) for tensor in contract.RESNET18.inputs}
        for rows in (3, 1, 2)
    ]
    responses = answer_requests(pb_utils, contract.RESNET18, count, requests)
    assert [response.output_tensors[0].values[0, 0] for response in responses] == [3, 1, 2]


SECRET = "/srv/models/patient.py"


@pytest.mark.parametrize(
    "error", [RuntimeError(SECRET), KeyError(SECRET), MemoryError(), ZeroDivisionError(SECRET)]
)
def test_an_unexpected_exception_is_internal_and_keeps_its_secrets(
    pb_utils: PbUtils, error: Exception
) -> None:
    def fail(inputs: Any) -> Arrays:
        if len(inputs[contract.IMAGE.name]) == 2:
            raise error
        return decode_batch(inputs)

    requests = [request_of(GOOD), request_of(GOOD, GOOD), request_of(GOOD)]
    responses = answer_requests(pb_utils, contract.FRAME_DECODER, fail, requests)
    assert [response.error is None for response in responses] == [True, False, True]
    failure = responses[1].error
    assert failure.code == TritonError.INTERNAL
    assert failure.message == (
        f"frame_decoder failed on this request ({type(error).__name__}); nothing is wrong with the "
        "others: see the server's log for the cause, and report it"
    )
    # The log has all of it.
    (entry,) = pb_utils.logged
    assert entry.startswith("frame_decoder failed:\nTraceback")
    assert type(error).__name__ in entry
    assert str(error) in entry


def test_an_image_error_is_not_logged_as_a_fault_of_ours(pb_utils: PbUtils) -> None:
    def refuse(inputs: Any) -> Arrays:
        raise ImageError("what came, what was wanted: how to mend it")

    (response,) = answer_requests(pb_utils, contract.FRAME_DECODER, refuse, [request_of(GOOD)])
    assert response.error.message == "what came, what was wanted: how to mend it"
    assert not pb_utils.logged


def test_a_request_without_its_input_fails_alone(pb_utils: PbUtils) -> None:
    responses = answer_requests(
        pb_utils, contract.FRAME_DECODER, decode_batch, [{}, request_of(GOOD)]
    )
    assert responses[0].error.code == TritonError.INTERNAL
    assert responses[1].error is None


def test_a_step_that_leaves_an_output_out_is_found_out(pb_utils: PbUtils) -> None:
    def forget(inputs: Any) -> Arrays:
        return {contract.FRAME.name: np.zeros((1, *contract.FRAME.shape), np.uint8)}

    (response,) = answer_requests(pb_utils, contract.FRAME_DECODER, forget, [request_of(GOOD)])
    assert response.error.code == TritonError.INTERNAL
    assert "KeyError: 'geometry'" in pb_utils.logged[0]


def test_no_requests_no_answers(pb_utils: PbUtils) -> None:
    assert answer_requests(pb_utils, contract.FRAME_DECODER, decode_batch, []) == []
