"""ResNet-18's linear layer: scikit-learn's own regression, folded into the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from thyroid_pipeline import contract
from thyroid_pipeline.roi import cut_roi
from thyroid_training.dataset import Sample
from thyroid_training.fit_classification import LabelledNodule, largest_box, outlined_nodules
from thyroid_training.linear_layer import fit_linear_layer, mean_features
from thyroid_training.resnet18 import ResNet18

C = 0.05


def fresh() -> ResNet18:
    torch.manual_seed(2)
    return ResNet18()


@pytest.fixture
def boxed(ddti_samples: list[Sample]) -> list[LabelledNodule]:
    """Each by its outline, the first by another box as well."""
    outlined = outlined_nodules(ddti_samples)
    x, y, width, height = largest_box(outlined[0].sample.truth)
    other = (x + 3, y - 2, width + 4, height)
    return [replace(outlined[0], boxes=(*outlined[0].boxes, other)), *outlined[1:]]


def test_logits_are_those_of_the_regression(boxed: list[LabelledNodule]) -> None:
    """Boxes and mirror images each a sample, both grades alike."""
    margin = contract.CropperParameters().margin_share
    rows, labels = [], []
    for nodule in boxed:
        for box in nodule.boxes:
            roi = cut_roi(nodule.sample.frame, box, nodule.sample.geometry, margin)
            rows += [roi, np.fliplr(roi)]
            labels += [nodule.sample.label] * 2
    network = fresh().eval()
    regions = np.array(rows)
    means = mean_features(network, regions)
    with torch.no_grad():
        inputs = (torch.from_numpy(regions)[:, None].float() - 72) / 40
        wanted = network.features(inputs).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(means, wanted, rtol=1e-4, atol=1e-5)
    reference = make_pipeline(
        StandardScaler(), LogisticRegression(C=C, class_weight="balanced", max_iter=10_000)
    ).fit(means, labels)
    begun = {name: value.clone() for name, value in network.state_dict().items()}
    fitted = fit_linear_layer(network, boxed, C)
    with torch.no_grad():
        logits = fitted(inputs)[:, 0].numpy()
    np.testing.assert_allclose(logits, reference.decision_function(means), atol=1e-3)
    assert np.ptp(logits) > 0.01
    assert not fitted.training
    for name, value in fitted.state_dict().items():
        assert torch.equal(value, begun[name]) != name.startswith("fc."), name


def test_one_grade_alone_is_refused(boxed: list[LabelledNodule]) -> None:
    malignant = [nodule for nodule in boxed if nodule.sample.label]
    with pytest.raises(ValueError, match=r"what is fitted on has 0 benign and \d+ malignant"):
        fit_linear_layer(fresh(), malignant, C)
