"""What the served networks can do, on images that no network was fitted on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    matthews_corrcoef,
    recall_score,
    roc_auc_score,
)

from thyroid_pipeline import contract
from thyroid_pipeline.crop import crop_nodule
from thyroid_pipeline.mask_png import decode_mask
from thyroid_training.dataset import Sample
from thyroid_training.fit_segmentation import predict_probability
from thyroid_training.metrics import dice
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import ClassificationGraph
from thyroid_training.transunet import TransUNet

_HALF = 0.5


def evaluate_segmentation(network: TransUNet, samples: Sequence[Sample]) -> dict[str, float]:
    """Judge the masks as they are served, in pixels of the original images.

    Args:
        network: In evaluation mode.
        samples: Held out, each with at least one nodule.

    Returns:
        Number of images, mean and median Dice, the share of Dice below one half, and the share of
        images in which a nodule was found at all.
    """
    maps = predict_probability(network, [sample.frame for sample in samples])
    parameters = contract.CropperParameters()
    scores, found = [], 0
    for sample, probability in zip(samples, maps, strict=True):
        crop = crop_nodule(sample.frame, probability, sample.geometry, parameters)
        scores.append(dice(decode_mask(crop.mask), sample.truth))
        found += crop.nodule_found
    return {
        "images": len(samples),
        "dice_mean": float(np.mean(scores)),
        "dice_median": float(np.median(scores)),
        "dice_below_half_share": float(np.mean(np.array(scores) < _HALF)),
        "nodule_found_share": found / len(samples),
    }


def silence_share(network: TransUNet, samples: Sequence[Sample]) -> float:
    """Share of frames without a nodule in which none is found."""
    maps = predict_probability(network, [sample.frame for sample in samples])
    parameters = contract.CropperParameters()
    silent = [
        not crop_nodule(sample.frame, probability, sample.geometry, parameters).nodule_found
        for sample, probability in zip(samples, maps, strict=True)
    ]
    return float(np.mean(silent))


def evaluate_classification(
    segmentation: TransUNet, classification: ResNet18, samples: Sequence[Sample]
) -> dict[str, float]:
    """Judge the malignancy as it is served: on regions cut by the predicted masks.

    A nodule that was not found counts as benign: that is what a screening would do with it.

    Args:
        segmentation: In evaluation mode.
        classification: Likewise.
        samples: Held out; those without a grade are left out.

    Returns:
        Figures at one half beside those of calling everything malignant.

    Raises:
        ValueError: The samples do not hold both grades.
    """
    graded = [sample for sample in samples if sample.label is not None]
    maps = predict_probability(segmentation, [sample.frame for sample in graded])
    graph = ClassificationGraph(classification).eval()
    scores = []
    for sample, probability in zip(graded, maps, strict=True):
        crop = crop_nodule(sample.frame, probability, sample.geometry, contract.CropperParameters())
        with torch.no_grad():
            malignancy, _ = graph(
                torch.from_numpy(crop.roi)[None, None], torch.tensor([[crop.nodule_found]])
            )
        scores.append(float(malignancy.nan_to_num(0.0)))
    labels = np.array([sample.label for sample in graded], np.int64)
    return classification_figures(labels, np.array(scores))


def require_both_grades(labels: Iterable[int | None], of_what: str) -> None:
    """Refuse samples from which no figure of a classifier, and no fit, can come.

    Args:
        labels: 1 malignant, 0 benign, None without a grade.
        of_what: What they are, for the message.

    Raises:
        ValueError: Benign or malignant samples are missing.
    """
    counted = Counter(labels)
    if not counted[0] or not counted[1]:
        raise ValueError(
            f"{of_what} has {counted[0]} benign and {counted[1]} malignant samples; at least one "
            "of each was wanted: give more samples or choose another fold"
        )


def classification_figures(
    labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]
) -> dict[str, float]:
    """Figures of scores against grades, at one half, by scikit-learn.

    Args:
        labels: INT64 [N], 1 malignant, 0 benign; both must occur.
        scores: FP64 [N], probability of malignancy.

    Returns:
        The figures by name.

    Raises:
        ValueError: Only one grade occurs: AUROC and specificity have no value.
    """
    require_both_grades(labels.tolist(), "what is judged")
    calls = (scores >= _HALF).astype(np.int64)
    return {
        "images": len(labels),
        "malignant": int(labels.sum()),
        "auroc": float(roc_auc_score(labels, scores)),
        "balanced_accuracy": float(balanced_accuracy_score(labels, calls)),
        "sensitivity": float(recall_score(labels, calls)),
        "specificity": float(recall_score(labels, calls, pos_label=0)),
        "mcc": float(matthews_corrcoef(labels, calls)),
        "f1": float(f1_score(labels, calls)),
        "f1_all_malignant": float(f1_score(labels, np.ones_like(labels))),
    }
