"""The public interface by bare tritonclient: any Triton client works, not only ours."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import tritonclient.grpc as triton
from PIL import Image

from pictures import accepted_pictures, encode, phantom_image, phantom_png, rejected_pictures
from thyroid_export.parity import TOLERANCES
from thyroid_pipeline import contract
from thyroid_pipeline.crop import crop_nodule
from thyroid_pipeline.frame import make_frame
from thyroid_pipeline.mask_png import decode_mask
from thyroid_server.embedded import EmbeddedTriton
from thyroid_training.checkpoint import load_classification_graph, onnx_path
from thyroid_training.foreign_frames import MADE, inverted, saturated
from thyroid_training.offline import OfflinePipeline

pytestmark = pytest.mark.server

# Two runtimes sum the same products in another order. A probability map may differ by one grey
# value where it is rounded; at the outline a few pixels then fall on the other side.
MALIGNANCY_TOLERANCE = TOLERANCES[contract.MALIGNANCY.name]
EVIDENCE_TOLERANCE = TOLERANCES[contract.EVIDENCE.name]
GREY_TOLERANCE = int(TOLERANCES[contract.NODULE_PROBABILITY.name])
MORPHOLOGY_TOLERANCE = 5e-3
# The map of a strange picture hovers about the threshold over whole areas.
STRANGE_MORPHOLOGY_TOLERANCE = 0.1
OOD_TOLERANCE = TOLERANCES[contract.OOD_SCORE.name]
FOREST_TOLERANCE = TOLERANCES[contract.FOREST_MALIGNANCY.name]

NAME = contract.ENSEMBLE.name
SEEDS = range(8)


@pytest.fixture(scope="module")
def client(server: EmbeddedTriton) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc_address) as connected:
        yield connected


def image_input(images: list[bytes]) -> triton.InferInput:
    tensor = triton.InferInput(contract.IMAGE.name, [len(images), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[image] for image in images], np.object_))
    return tensor


def screen(client: triton.InferenceServerClient, images: list[bytes]) -> triton.InferResult:
    return client.infer(NAME, [image_input(images)], client_timeout=60)


def masks_within_tolerance(image: bytes, offline: OfflinePipeline) -> list[np.ndarray[Any, Any]]:
    """The masks of PyTorch's map with every place as much darker, or brighter, as it may be."""
    frame, geometry = make_frame(image)
    with torch.no_grad():
        map_, _ = offline._segmentation(torch.from_numpy(frame)[None, None])
    levels = map_[0, 0].numpy().astype(int)
    moved = (levels - GREY_TOLERANCE, levels + GREY_TOLERANCE)
    ends = [np.clip(end, 0, 255).astype(np.uint8) for end in moved]
    crops = [crop_nodule(frame, end, geometry, offline._parameters) for end in ends]
    return [decode_mask(crop.mask) for crop in crops]


def assert_row_equals_offline(
    answer: triton.InferResult, row: int, image: bytes, offline: OfflinePipeline
) -> None:
    wanted = offline.screen(image)
    assert bool(answer.as_numpy("nodule_found")[row, 0]) == wanted.crop.nodule_found
    np.testing.assert_array_equal(answer.as_numpy("box")[row], wanted.crop.box)
    is_strange = wanted.decision is contract.Decision.OUT_OF_DISTRIBUTION
    figures = STRANGE_MORPHOLOGY_TOLERANCE if is_strange else MORPHOLOGY_TOLERANCE
    mask = decode_mask(answer.as_numpy("mask")[row, 0])
    least, most = masks_within_tolerance(image, offline)
    assert (mask >= least).all()
    assert (mask <= most).all()
    np.testing.assert_allclose(
        answer.as_numpy("morphology")[row],
        wanted.crop.morphology,
        rtol=figures,
        atol=figures,
    )
    score = answer.as_numpy("ood_score")[row, 0]
    assert abs(score - wanted.ood_score) <= OOD_TOLERANCE * max(1.0, wanted.ood_score)
    assert answer.as_numpy("decision")[row, 0] == wanted.decision
    np.testing.assert_allclose(
        answer.as_numpy("malignancy")[row, 0], wanted.malignancy, atol=MALIGNANCY_TOLERANCE
    )
    assert np.isnan(answer.as_numpy("forest_malignancy")[row, 0]) == np.isnan(wanted.malignancy)
    np.testing.assert_allclose(
        answer.as_numpy("evidence")[row], wanted.evidence, atol=EVIDENCE_TOLERANCE
    )


def test_metadata_is_the_public_interface(client: triton.InferenceServerClient) -> None:
    metadata = client.get_model_metadata(NAME)
    inputs = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in metadata.inputs}
    outputs = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in metadata.outputs}
    assert inputs == {"image": ("BYTES", [-1, 1])}
    assert outputs == {
        "decision": ("INT32", [-1, 1]),
        "nodule_found": ("BOOL", [-1, 1]),
        "malignancy": ("FP32", [-1, 1]),
        "forest_malignancy": ("FP32", [-1, 1]),
        "ood_score": ("FP32", [-1, 1]),
        "box": ("INT32", [-1, 4]),
        "mask": ("BYTES", [-1, 1]),
        "morphology": ("FP32", [-1, len(contract.MORPHOLOGY_FIELDS)]),
        "evidence": ("FP32", [-1, 5, 5]),
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_one_image_equals_offline(
    client: triton.InferenceServerClient, offline: OfflinePipeline, seed: int
) -> None:
    image = phantom_png(seed)
    assert_row_equals_offline(screen(client, [image]), 0, image, offline)


def test_five_images_of_different_sizes_in_one_request(
    client: triton.InferenceServerClient, offline: OfflinePipeline
) -> None:
    sizes = [(360, 560), (480, 640), (600, 800), (300, 260), (960, 1280)]
    images = [
        phantom_png(seed, height_px=height, width_px=width)
        for seed, (height, width) in enumerate(sizes)
    ]
    answer = screen(client, images)
    for row, (image, size) in enumerate(zip(images, sizes, strict=True)):
        assert decode_mask(answer.as_numpy("mask")[row, 0]).shape == size
        assert_row_equals_offline(answer, row, image, offline)


def test_real_images_equal_offline(
    client: triton.InferenceServerClient, offline: OfflinePipeline, ddti: Path
) -> None:
    paths = sorted((ddti / "images").glob("*.jpg"))[::50]
    assert len(paths) >= 7
    for path in paths:
        image = path.read_bytes()
        assert_row_equals_offline(screen(client, [image]), 0, image, offline)


@pytest.mark.parametrize("name", accepted_pictures())
def test_accepted_encodings(
    client: triton.InferenceServerClient, offline: OfflinePipeline, name: str
) -> None:
    image = accepted_pictures()[name]
    assert_row_equals_offline(screen(client, [image]), 0, image, offline)


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

            client.async_infer(NAME, [image_input([image])], callback=keep, client_timeout=120)
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
        client.infer(NAME, [tensor])
    assert failure.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_wrong_shape_is_rejected(client: triton.InferenceServerClient) -> None:
    tensor = triton.InferInput(contract.IMAGE.name, [1, 2], "BYTES")
    tensor.set_data_from_numpy(np.array([[phantom_png(0)] * 2], np.object_))
    with pytest.raises(triton.InferenceServerException, match="unexpected shape") as failure:
        client.infer(NAME, [tensor])
    assert failure.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_batch_over_the_limit_is_rejected(client: triton.InferenceServerClient) -> None:
    images = [phantom_png(0)] * (contract.MAX_BATCH_SIZE + 1)
    with pytest.raises(triton.InferenceServerException, match="<= 16") as failure:
        screen(client, images)
    assert failure.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_no_nodule_is_an_answer(
    client: triton.InferenceServerClient, offline: OfflinePipeline
) -> None:
    """A frame without tissue structure in which the network finds nothing."""
    seed = next(
        (
            seed
            for seed in range(200, 260)
            if offline.screen(phantom_png(seed)).decision is contract.Decision.NO_NODULE
        ),
        None,
    )
    assert seed is not None, "no phantom of this range is without a finding"
    answer = screen(client, [phantom_png(seed)])
    assert not answer.as_numpy("nodule_found")[0, 0]
    assert answer.as_numpy("decision")[0, 0] == contract.Decision.NO_NODULE
    assert np.isnan(answer.as_numpy("malignancy")[0, 0])
    assert np.isnan(answer.as_numpy("forest_malignancy")[0, 0])
    assert np.isnan(answer.as_numpy("morphology")[0]).all()
    np.testing.assert_array_equal(answer.as_numpy("box")[0], np.zeros(4))
    np.testing.assert_array_equal(answer.as_numpy("evidence")[0], np.zeros((5, 5)))
    assert not decode_mask(answer.as_numpy("mask")[0, 0]).any()


def test_the_forest_answers_by_the_served_morphology(
    client: triton.InferenceServerClient, model_repository: Path
) -> None:
    """Asked by itself, with the figures that the ensemble gave, it says what the ensemble said."""
    answer = screen(client, [phantom_png(seed) for seed in SEEDS])
    said = answer.as_numpy("forest_malignancy")
    session = onnxruntime.InferenceSession(
        str(onnx_path(model_repository, contract.MORPHOLOGY_FOREST)),
        providers=["CPUExecutionProvider"],
    )
    given = {tensor.name: answer.as_numpy(tensor.name) for tensor in contract.ENSEMBLE.outputs}
    (wanted,) = session.run(
        None, {tensor.name: given[tensor.name] for tensor in contract.MORPHOLOGY_FOREST.inputs}
    )
    np.testing.assert_allclose(said, wanted, atol=FOREST_TOLERANCE)
    np.testing.assert_array_equal(np.isnan(said), np.isnan(answer.as_numpy("malignancy")))
    opinions = said[~np.isnan(said)]
    assert opinions.size, "in none of these phantoms was there a nodule to judge"
    assert ((opinions >= 0) & (opinions <= 1)).all()


def test_decision_follows_from_what_is_said_with_it(
    client: triton.InferenceServerClient, model_repository: Path
) -> None:
    """By the operating point that the shipped file carries, and by the score's limit."""
    graph = load_classification_graph(onnx_path(model_repository, contract.RESNET18))
    routine_below, refer_from = graph.operating_point.tolist()
    answer = screen(client, [phantom_png(seed) for seed in range(contract.MAX_BATCH_SIZE)])
    names = ("decision", "nodule_found", "malignancy", "ood_score")
    rows = zip(*(answer.as_numpy(name)[:, 0] for name in names), strict=True)
    for decision, is_found, malignancy, score in rows:
        if score > contract.OOD_LIMIT:
            wanted = contract.Decision.OUT_OF_DISTRIBUTION
        elif not is_found:
            wanted = contract.Decision.NO_NODULE
        elif malignancy < routine_below:
            wanted = contract.Decision.ROUTINE
        elif malignancy < refer_from:
            wanted = contract.Decision.UNCERTAIN
        else:
            wanted = contract.Decision.REFER
        assert decision == wanted


def strange_pictures() -> dict[str, bytes]:
    """Encoded pictures that are no thyroid ultrasound, by name."""
    phantom = np.asarray(phantom_image(0))
    frames = {
        "inverted phantom": inverted(phantom),
        "saturated phantom": saturated(phantom),
        **{name: make(np.random.default_rng(1)) for name, make in MADE.items()},
    }
    return {name: encode(Image.fromarray(frame)) for name, frame in frames.items()}


def test_strange_pictures_are_answered_as_offline(
    client: triton.InferenceServerClient, offline: OfflinePipeline
) -> None:
    """And those that the gate flags get a flag in place of a number, beside what was found."""
    pictures = strange_pictures()
    flagged = []
    for name, picture in pictures.items():
        answer = screen(client, [picture])
        assert_row_equals_offline(answer, 0, picture, offline)
        if offline.screen(picture).ood_score <= contract.OOD_LIMIT:
            continue
        flagged.append(name)
        assert answer.as_numpy("decision")[0, 0] == contract.Decision.OUT_OF_DISTRIBUTION
        assert np.isnan(answer.as_numpy("malignancy")[0, 0])
        assert np.isnan(answer.as_numpy("forest_malignancy")[0, 0])
        assert not answer.as_numpy("evidence")[0].any()
    assert flagged, f"none of {', '.join(pictures)} is strange to the shipped gate"


def test_a_strange_picture_leaves_its_neighbours_alone(
    client: triton.InferenceServerClient, offline: OfflinePipeline
) -> None:
    picture = strange_pictures()["speckle without tissue"]
    images = [phantom_png(0), picture, phantom_png(1)]
    answer = screen(client, images)
    for row, image in enumerate(images):
        assert_row_equals_offline(answer, row, image, offline)


def test_text_in_the_picture_changes_nothing(client: triton.InferenceServerClient) -> None:
    plain = screen(client, [phantom_png(1)])
    named = screen(client, [phantom_png(1, text="TIRADS 5 (4C)")])
    for tensor in contract.ENSEMBLE.outputs:
        np.testing.assert_array_equal(plain.as_numpy(tensor.name), named.as_numpy(tensor.name))


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
