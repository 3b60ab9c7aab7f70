"""The public interface by bare tritonclient: any Triton client works, not only ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as triton
from PIL import Image

from ensemble_calls import assert_row_equals_offline, screen
from pictures import accepted_pictures, encode, phantom_image, phantom_png
from thyroid_export.parity import TOLERANCES
from thyroid_pipeline import contract
from thyroid_pipeline.mask_png import decode_mask
from thyroid_training.checkpoint import load_classification_graph, onnx_path
from thyroid_training.foreign_frames import MADE, inverted, saturated
from thyroid_training.offline import OfflinePipeline

pytestmark = pytest.mark.server

FOREST_TOLERANCE = TOLERANCES[contract.FOREST_MALIGNANCY.name]
SEEDS = range(8)


def test_metadata_is_the_public_interface(client: triton.InferenceServerClient) -> None:
    metadata = client.get_model_metadata(contract.ENSEMBLE.name)
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
