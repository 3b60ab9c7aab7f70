"""What the real server's metrics page says of what it answered."""

from __future__ import annotations

import re
import urllib.request
from collections import Counter

import numpy as np
import pytest
import tritonclient.grpc as triton

from ensemble_calls import screen
from pictures import phantom_png
from thyroid_pipeline import contract
from thyroid_pipeline.warmup import warmup_image
from thyroid_server.embedded import EmbeddedTriton
from thyroid_server.readiness import screen_once

pytestmark = pytest.mark.server

SEEDS = range(6)


def ours(server: EmbeddedTriton) -> Counter[str]:
    """The samples of our own metrics, by name and labels."""
    url = f"http://{server.metrics_address}/metrics"
    with urllib.request.urlopen(url) as page:
        text = page.read().decode()
    samples = re.findall(r"^(thyroid_[a-z_]+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)
    return Counter({name: float(value) for name, value in samples})


def test_the_page_counts_what_was_answered(
    server: EmbeddedTriton, client: triton.InferenceServerClient
) -> None:
    before = ours(server)
    answer = screen(client, [phantom_png(seed) for seed in SEEDS])
    grown = ours(server)
    grown.subtract(before)

    labels = {decision.value: decision.label for decision in contract.Decision}
    decided = Counter(labels[value] for value in answer.as_numpy("decision")[:, 0])
    for label in labels.values():
        assert grown[f'thyroid_decisions_total{{decision="{label}"}}'] == decided[label]
    found = answer.as_numpy("nodule_found")[:, 0]
    assert grown['thyroid_frames_total{nodule="found"}'] == found.sum()
    assert grown['thyroid_frames_total{nodule="none"}'] == (~found).sum()
    assert grown["thyroid_nodule_probability_count"] == len(SEEDS)

    malignancies = answer.as_numpy("malignancy")
    given = malignancies[~np.isnan(malignancies)]
    assert grown["thyroid_malignancy_count"] == given.size > 0
    assert grown["thyroid_malignancy_sum"] == pytest.approx(given.sum(), rel=1e-4)
    assert grown['thyroid_malignancy_bucket{le="0.5"}'] == (given <= 0.5).sum()
    scores = answer.as_numpy("ood_score")
    assert grown["thyroid_ood_score_count"] == scores.size
    assert grown['thyroid_ood_score_bucket{le="1"}'] == (scores <= contract.OOD_LIMIT).sum()


def test_readiness_checks_and_refused_images_are_not_counted(
    server: EmbeddedTriton, client: triton.InferenceServerClient
) -> None:
    watched = ("thyroid_decisions_total", "thyroid_frames_total", "thyroid_malignancy_count")
    before = ours(server)
    screen_once(server.grpc_address, warmup_image(), timeout_s=60)
    with pytest.raises(triton.InferenceServerException):
        screen(client, [b"no image"])
    after = ours(server)
    for name in after:
        if name.startswith(watched):
            assert after[name] == before[name], name


def test_nothing_on_the_page_tells_one_request_from_another(
    server: EmbeddedTriton, client: triton.InferenceServerClient
) -> None:
    """The labels are those of a closed list: no request id, no name, no address."""
    tensor = triton.InferInput(contract.IMAGE.name, [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[phantom_png(0)]], np.object_))
    client.infer(
        contract.ENSEMBLE.name,
        [tensor],
        request_id="patient-4711",
        headers={"patient": "patient-4711"},
        client_timeout=60,
    )
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as page:
        text = page.read().decode()
    assert "4711" not in text
    names = set(re.findall(r'[{,]([a-z_]+)="', text))
    assert names <= {
        *("model", "version", "reason", "le", "gpu_uuid"),
        *("decision", "nodule", "threads"),
    }
