"""What the public interface refuses, by bare tritonclient: why, and that others are answered."""

from __future__ import annotations

import queue

import numpy as np
import pytest
import tritonclient.grpc as triton

from ensemble_calls import assert_row_equals_offline, image_input, screen
from pictures import phantom_png, rejected_pictures
from thyroid_pipeline import contract
from thyroid_training.offline import OfflinePipeline

pytestmark = pytest.mark.server


@pytest.mark.parametrize("name", rejected_pictures())
def test_rejected_pictures_say_why(client: triton.InferenceServerClient, name: str) -> None:
    image, message = rejected_pictures()[name]
    with pytest.raises(triton.InferenceServerException) as failure:
        screen(client, [image])
    assert failure.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert message in failure.value.message()
    assert ".py" not in failure.value.message()


def test_too_many_bytes_are_rejected(client: triton.InferenceServerClient) -> None:
    with pytest.raises(triton.InferenceServerException, match=r"at most 33,554,432 are accepted"):
        screen(client, [b"\0" * (contract.MAX_IMAGE_BYTES + 1)])


def test_a_bad_row_is_named(client: triton.InferenceServerClient) -> None:
    with pytest.raises(triton.InferenceServerException, match=r"image 2 of 3: the image is empty"):
        screen(client, [phantom_png(0), b"", phantom_png(1)])


def test_good_requests_in_flight_with_bad_ones_are_answered(
    client: triton.InferenceServerClient, offline: OfflinePipeline
) -> None:
    bad = [image for image, _ in rejected_pictures().values()]
    good = [phantom_png(seed) for seed in range(len(bad))]
    answers: queue.Queue[tuple[int, bool, object, object]] = queue.Queue()
    for number, pair in enumerate(zip(good, bad, strict=True)):
        for is_good, image in zip((True, False), pair, strict=True):

            def keep(
                result: object, error: object, number: int = number, is_good: bool = is_good
            ) -> None:
                answers.put((number, is_good, result, error))

            client.async_infer(
                contract.ENSEMBLE.name, [image_input([image])], callback=keep, client_timeout=120
            )
    seen = 0
    for _ in range(2 * len(good)):
        number, is_good, result, error = answers.get(timeout=120)
        if is_good:
            assert error is None
            assert isinstance(result, triton.InferResult)
            assert_row_equals_offline(result, 0, good[number], offline)
            seen += 1
        else:
            assert isinstance(error, triton.InferenceServerException)
            assert error.status() == "StatusCode.INVALID_ARGUMENT"
    assert seen == len(good)


def test_wrong_type_is_rejected(client: triton.InferenceServerClient) -> None:
    tensor = triton.InferInput(contract.IMAGE.name, [1, 1], "UINT8")
    tensor.set_data_from_numpy(np.zeros((1, 1), np.uint8))
    with pytest.raises(triton.InferenceServerException, match="data-type") as failure:
        client.infer(contract.ENSEMBLE.name, [tensor])
    assert failure.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_wrong_shape_is_rejected(client: triton.InferenceServerClient) -> None:
    tensor = triton.InferInput(contract.IMAGE.name, [1, 2], "BYTES")
    tensor.set_data_from_numpy(np.array([[phantom_png(0)] * 2], np.object_))
    with pytest.raises(triton.InferenceServerException, match="unexpected shape") as failure:
        client.infer(contract.ENSEMBLE.name, [tensor])
    assert failure.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_batch_over_the_limit_is_rejected(client: triton.InferenceServerClient) -> None:
    images = [phantom_png(0)] * (contract.MAX_BATCH_SIZE + 1)
    with pytest.raises(triton.InferenceServerException, match="<= 16") as failure:
        screen(client, images)
    assert failure.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_step_called_directly_refuses_a_foreign_geometry(
    client: triton.InferenceServerClient,
) -> None:
    inputs = []
    for tensor in contract.ROI_CROPPER.inputs:
        value = triton.InferInput(tensor.name, [1, *tensor.shape], tensor.data_type.value)
        value.set_data_from_numpy(np.zeros((1, *tensor.shape), tensor.data_type.numpy))
        inputs.append(value)
    with pytest.raises(triton.InferenceServerException, match="is no geometry of a") as failure:
        client.infer(contract.ROI_CROPPER.name, inputs)
    assert failure.value.status() == "StatusCode.INVALID_ARGUMENT"
