"""Calls of the ensemble by bare tritonclient, and answers held against the offline pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import tritonclient.grpc as triton

from thyroid_export.parity import TOLERANCES
from thyroid_pipeline import contract
from thyroid_pipeline.crop import crop_nodule
from thyroid_pipeline.frame import make_frame
from thyroid_pipeline.mask_png import decode_mask
from thyroid_training.offline import OfflinePipeline

# Two runtimes sum the same products in another order. A probability map may differ by one grey
# value where it is rounded; at the outline a few pixels then fall on the other side.
MALIGNANCY_TOLERANCE = TOLERANCES[contract.MALIGNANCY.name]
EVIDENCE_TOLERANCE = TOLERANCES[contract.EVIDENCE.name]
GREY_TOLERANCE = int(TOLERANCES[contract.NODULE_PROBABILITY.name])
MORPHOLOGY_TOLERANCE = 5e-3
# The map of a strange picture hovers about the threshold over whole areas.
STRANGE_MORPHOLOGY_TOLERANCE = 0.1
OOD_TOLERANCE = TOLERANCES[contract.OOD_SCORE.name]


def image_input(images: list[bytes]) -> triton.InferInput:
    """Encoded images as the ensemble's input."""
    tensor = triton.InferInput(contract.IMAGE.name, [len(images), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[image] for image in images], np.object_))
    return tensor


def screen(client: triton.InferenceServerClient, images: list[bytes]) -> triton.InferResult:
    """The ensemble's answer to encoded images, in one request."""
    return client.infer(contract.ENSEMBLE.name, [image_input(images)], client_timeout=60)


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
    """See that a row of an answer is what the offline pipeline says of the image."""
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
