"""ResNet-18 in INT8 behind the real server, beside FP32 behind another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from ensemble_calls import screen
from pictures import phantom_png
from thyroid_export.gate import INT8_GATE
from thyroid_pipeline import contract
from thyroid_server.embedded import EmbeddedTriton, ServerSettings

pytestmark = pytest.mark.server

# What comes from TransUNet and the cropper, to which nothing has happened.
SAME = (
    contract.NODULE_FOUND,
    contract.BOX,
    contract.MASK,
    contract.MORPHOLOGY,
    contract.OOD_SCORE,
    contract.FOREST_MALIGNANCY,
)


@pytest.fixture(scope="module")
def int8_client(int8_repository: Path) -> Iterator[triton.InferenceServerClient]:
    settings = ServerSettings(model_repository=int8_repository, profile="cpu")
    with (
        EmbeddedTriton(settings) as running,
        triton.InferenceServerClient(running.grpc_address) as connected,
    ):
        yield connected


def test_answers_are_those_of_fp32_but_for_the_malignancy(
    client: triton.InferenceServerClient, int8_client: triton.InferenceServerClient
) -> None:
    images = [phantom_png(seed) for seed in range(6)]
    wanted, got = (screen(each, images) for each in (client, int8_client))
    for tensor in SAME:
        np.testing.assert_array_equal(
            got.as_numpy(tensor.name), wanted.as_numpy(tensor.name), err_msg=tensor.name
        )
    moves = np.abs(got.as_numpy("malignancy") - wanted.as_numpy("malignancy"))
    given = moves[~np.isnan(wanted.as_numpy("malignancy"))]
    assert len(given) >= 3
    assert given.max() <= INT8_GATE.malignancy_within
    assert given.max() > 1e-4  # it is not the file in FP32 that answers


def test_a_batch_answers_as_its_images_do(int8_client: triton.InferenceServerClient) -> None:
    images = [phantom_png(seed) for seed in range(3)]
    together = screen(int8_client, images).as_numpy("malignancy")
    alone = [screen(int8_client, [image]).as_numpy("malignancy")[0] for image in images]
    np.testing.assert_allclose(together, alone, atol=1e-5)
