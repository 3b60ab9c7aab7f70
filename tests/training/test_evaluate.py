"""Figures of what is served, in closed cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from thyroid_training import evaluate as module
from thyroid_training.dataset import Sample
from thyroid_training.evaluate import (
    classification_figures,
    evaluate_classification,
    evaluate_segmentation,
    require_both_grades,
    silence_share,
)
from thyroid_training.resnet18 import ResNet18
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import TransUNetConfig

LABELS = np.array([1, 1, 1, 0, 1, 0], np.int64)
ALL_MALIGNANT_F1 = 2 * 4 / (2 * 4 + 2)

Maps = list[NDArray[np.uint8]]


def test_perfect_scores() -> None:
    figures = classification_figures(LABELS, LABELS * 0.8 + 0.1)
    assert figures == {
        "images": 6,
        "malignant": 4,
        "auroc": 1.0,
        "balanced_accuracy": 1.0,
        "sensitivity": 1.0,
        "specificity": 1.0,
        "mcc": 1.0,
        "f1": 1.0,
        "f1_all_malignant": pytest.approx(ALL_MALIGNANT_F1),
    }


def test_swapped_scores() -> None:
    figures = classification_figures(LABELS, 0.9 - LABELS * 0.8)
    assert figures["auroc"] == figures["balanced_accuracy"] == figures["f1"] == 0.0
    assert figures["sensitivity"] == figures["specificity"] == 0.0
    assert figures["mcc"] == -1.0


@pytest.mark.parametrize(("score", "called"), [(0.5, True), (0.9, True), (0.4999, False)])
def test_one_score_for_all(score: float, called: bool) -> None:
    figures = classification_figures(LABELS, np.full(6, score))
    assert figures["auroc"] == figures["balanced_accuracy"] == 0.5
    assert figures["mcc"] == 0.0
    assert (figures["sensitivity"], figures["specificity"]) == ((1, 0) if called else (0, 1))
    assert figures["f1"] == pytest.approx(ALL_MALIGNANT_F1 if called else 0.0)


def test_figures_of_a_table_counted_by_hand() -> None:
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], np.int64)
    scores = np.array([0.9, 0.8, 0.7, 0.2, 0.6, 0.5, 0.4, 0.3, 0.1, 0.0])
    figures = classification_figures(labels, scores)  # 3 of 4 and 4 of 6 are called rightly
    assert figures["sensitivity"] == 3 / 4
    assert figures["specificity"] == pytest.approx(4 / 6)
    assert figures["balanced_accuracy"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert figures["f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert figures["mcc"] == pytest.approx((3 * 4 - 2 * 1) / (5 * 4 * 6 * 5) ** 0.5)
    # Of 24 pairs the malignant one has the higher score in 6 + 6 + 6 + 2.
    assert figures["auroc"] == pytest.approx(20 / 24)


@pytest.mark.parametrize("label", [0, 1])
def test_one_grade_alone_has_no_figures(label: int) -> None:
    with pytest.raises(ValueError, match=r"at least one of each was wanted: give more samples"):
        classification_figures(np.full(5, label, np.int64), np.linspace(0, 1, 5))


def test_missing_grades_are_counted() -> None:
    require_both_grades([0, 1, None], "a fold with both")
    with pytest.raises(ValueError, match="held-out fold 3 has 2 benign and 0 malignant"):
        require_both_grades([0, None, 0], "held-out fold 3")


# --- masks as they are served


@pytest.fixture
def network(tiny_config: TransUNetConfig) -> TransUNet:
    return TransUNet(tiny_config).eval()


def answer_with(
    monkeypatch: pytest.MonkeyPatch, samples: Sequence[Sample], map_of: Callable[[Sample], object]
) -> None:
    """Let the network's answer for each frame be a given map, 0 or 255, on its grid."""
    by_frame = {id(sample.frame): sample for sample in samples}

    def predict(_: TransUNet, frames: Sequence[NDArray[np.uint8]]) -> Maps:
        return [
            np.asarray(map_of(by_frame[id(frame)]), np.uint8)[::2, ::2] * np.uint8(255)
            for frame in frames
        ]

    monkeypatch.setattr(module, "predict_probability", predict)


def test_the_outline_itself_is_nearly_perfect(
    network: TransUNet, ddti_samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, ddti_samples, lambda sample: sample.mask)
    figures = evaluate_segmentation(network, ddti_samples)
    assert figures["images"] == len(ddti_samples)
    assert figures["dice_mean"] > 0.96  # the grid's coarseness is what is left
    assert figures["dice_median"] > 0.96
    assert figures["dice_below_half_share"] == 0.0
    assert figures["nodule_found_share"] == 1.0
    assert silence_share(network, ddti_samples) == 0.0


def test_silence_finds_nothing(
    network: TransUNet, ddti_samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, ddti_samples, lambda sample: np.zeros_like(sample.mask))
    figures = evaluate_segmentation(network, ddti_samples)
    assert figures["dice_mean"] == figures["dice_median"] == figures["nodule_found_share"] == 0.0
    assert figures["dice_below_half_share"] == 1.0
    assert silence_share(network, ddti_samples) == 1.0


def test_shares_are_of_all_images(
    network: TransUNet, ddti_samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = ddti_samples[:4]
    answer_with(
        monkeypatch,
        samples,
        lambda sample: sample.mask if sample is samples[0] else np.zeros_like(sample.mask),
    )
    figures = evaluate_segmentation(network, samples)
    assert figures["nodule_found_share"] == 0.25
    assert figures["dice_below_half_share"] == 0.75
    assert figures["dice_median"] == 0.0
    assert 0.24 < figures["dice_mean"] <= 0.25
    assert silence_share(network, samples) == 0.75


def test_a_nodule_that_was_not_found_counts_as_benign(
    network: TransUNet, ddti_samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, ddti_samples, lambda sample: np.zeros_like(sample.mask))
    figures = evaluate_classification(network, ResNet18().eval(), ddti_samples)
    graded = [sample.label for sample in ddti_samples if sample.label is not None]
    assert (figures["images"], figures["malignant"]) == (len(graded), sum(graded))
    assert (figures["sensitivity"], figures["specificity"]) == (0.0, 1.0)
    assert figures["auroc"] == 0.5


def test_found_nodules_are_scored_by_the_classifier(
    network: TransUNet, ddti_samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [sample for sample in ddti_samples if sample.label is not None][:3]
    assert {sample.label for sample in samples} == {0, 1}
    answer_with(monkeypatch, samples, lambda sample: sample.mask)
    classifier = ResNet18().eval()
    classifier.fc.weight.data.zero_()
    classifier.fc.bias.data.fill_(2.0)
    figures = evaluate_classification(network, classifier, samples)
    assert (figures["sensitivity"], figures["specificity"]) == (1.0, 0.0)
