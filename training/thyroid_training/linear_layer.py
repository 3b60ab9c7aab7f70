"""Fitting ResNet-18's linear layer on thyroid nodules: logistic regression on its means.

A few hundred nodules, one in six benign, are too few to fit eleven million weights on: fine-tuned
on them the network ranked held-out nodules worse than its own pretrained means do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from thyroid_pipeline import contract
from thyroid_pipeline.roi import cut_roi
from thyroid_training.classification_scores import require_both_grades
from thyroid_training.fit_classification import LabelledNodule
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import normalise

_MOST_ITERATIONS = 10_000  # it converges in a few hundred; scikit-learn warns where it does not


def fit_linear_layer(
    network: ResNet18, nodules: Sequence[LabelledNodule], inverse_regularisation: float
) -> ResNet18:
    """Fit the linear layer; all else stays as it is.

    Every nodule counts by each of its boxes and by the mirror image of each, benign and malignant
    ones alike in all.

    Args:
        network: Its `fc` is fitted in place.
        nodules: With grades.
        inverse_regularisation: scikit-learn's C, for features of unit variance.

    Returns:
        The network, in evaluation mode.

    Raises:
        ValueError: There is no nodule of one grade.
    """
    require_both_grades([nodule.sample.label for nodule in nodules], "what is fitted on")
    network.eval()
    means = [mean_features(network, _regions(nodule)) for nodule in nodules]
    grades = np.array([nodule.sample.label for nodule in nodules], np.int64)
    labels = np.repeat(grades, [len(rows) for rows in means])
    weight, bias = linear_weights(np.concatenate(means), labels, inverse_regularisation)
    with torch.no_grad():
        network.fc.weight.copy_(torch.from_numpy(weight)[None])
        network.fc.bias.fill_(bias)
    return network


def linear_weights(
    means: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], inverse_regularisation: float
) -> tuple[npt.NDArray[np.float64], float]:
    """Fit the linear layer's numbers: both grades count alike.

    Args:
        means: FP64 [N, width], see `mean_features`.
        labels: INT64 [N], 1 malignant, 0 benign, some of each.
        inverse_regularisation: scikit-learn's C, for features of unit variance.

    Returns:
        Weight, FP64 [width], and bias: the logit is their product with the means, plus the bias.
    """
    scaler = StandardScaler()
    regression = LogisticRegression(
        C=inverse_regularisation, class_weight="balanced", max_iter=_MOST_ITERATIONS
    ).fit(scaler.fit_transform(means), labels)
    # What the scaler does is part of the layer.
    weight = np.asarray(regression.coef_[0] / scaler.scale_, np.float64)
    return weight, float(regression.intercept_[0] - weight @ scaler.mean_)


@torch.no_grad()
def mean_features(network: ResNet18, regions: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """What the linear layer reads.

    Args:
        network: In evaluation mode.
        regions: UINT8 [N, S, S], S a multiple of 32.

    Returns:
        FP64 [N, channels of all stages].
    """
    inputs = normalise(torch.from_numpy(regions)[:, None].to(torch.float32))
    means = network.features(inputs).mean(dim=(2, 3))
    return np.asarray(means.to(torch.float64).numpy())


def _regions(nodule: LabelledNodule) -> npt.NDArray[np.uint8]:
    """The nodule by each of its boxes, and mirrored: UINT8 [2 x boxes, side, side]."""
    margin_share = contract.CropperParameters().margin_share
    cut = np.array(
        [
            cut_roi(nodule.sample.frame, box, nodule.sample.geometry, margin_share)
            for box in nodule.boxes
        ]
    )
    return np.concatenate([cut, cut[:, :, ::-1]])
