"""The client against the real Triton: what it returns is what a bare tritonclient is told."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton

from pictures import phantom_png
from thyroid_client import Screening, ThyroidClient
from thyroid_pipeline import contract
from thyroid_pipeline.mask_png import decode_mask
from thyroid_server.embedded import EmbeddedTriton

pytestmark = pytest.mark.server


def ask(client: triton.InferenceServerClient, image: bytes) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    tensor = triton.InferInput("image", [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[image]], np.object_))
    answer = client.infer("thyroid_screening", [tensor], client_timeout=60)
    return {output.name: answer.as_numpy(output.name)[0] for output in contract.ENSEMBLE.outputs}


def told(screening: Screening) -> dict[str, npt.ArrayLike]:
    """Put a screening back into the form of an answer, by what the contract says of absence."""
    absent = {"box": (0, 0, 0, 0), "morphology": (np.nan,) * len(contract.MORPHOLOGY_FIELDS)}
    number, second = screening.malignancy, screening.forest_malignancy
    return {
        "decision": [int(screening.decision)],
        "nodule_found": [screening.nodule_found],
        "malignancy": [np.nan if number is None else number],
        "forest_malignancy": [np.nan if second is None else second],
        "ood_score": [screening.ood_score],
        "box": absent["box"] if screening.box is None else screening.box.as_tuple(),
        "mask": screening.mask,
        "morphology": (
            absent["morphology"] if screening.morphology is None else screening.morphology.figures
        ),
        "evidence": np.zeros(contract.EVIDENCE.shape)
        if screening.evidence is None
        else screening.evidence,
    }


def test_a_screening_is_what_the_server_said(server: EmbeddedTriton) -> None:
    with (
        ThyroidClient(server.grpc_address) as client,
        triton.InferenceServerClient(server.grpc_address) as bare,
    ):
        for seed in range(6):
            image = phantom_png(seed)
            screening, said = client.screen(image), ask(bare, image)
            assert screening.out_of_distribution == (said["ood_score"][0] > contract.OOD_LIMIT)
            said["mask"] = decode_mask(said["mask"][0])
            mine = told(screening)
            assert set(mine) == set(said)
            for name, value in said.items():
                np.testing.assert_array_equal(mine[name], value, err_msg=f"{name} of {seed}")
