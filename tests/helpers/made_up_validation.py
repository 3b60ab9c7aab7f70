"""A cross-validation that nobody ran."""

from __future__ import annotations

from typing import Any

import numpy as np

from thyroid_training.calibrated_calls import cross_fitted_calibration
from thyroid_training.calibration import fit_calibration
from thyroid_training.classification_scores import ClassificationScores, Classifier
from thyroid_training.cross_fitting import cross_fitted, cross_fitted_calls
from thyroid_training.cross_validation_results import (
    CaseOutline,
    CrossValidation,
    OutOfDistribution,
    Served,
    worst_results,
)
from thyroid_training.explanation_figures import SHARES, Explanations
from thyroid_training.figures_segmentation import NoduleDetection, measure_image
from thyroid_training.mask_agreement import Mask
from thyroid_training.ood_figures import OodScores
from thyroid_training.operating_point import (
    OperatingPoint,
    balanced_threshold,
    f1_threshold_with_specificity,
    fit_operating_point,
    screening_threshold,
)

SEEDS, FOLDS = 2, 5


def disc(radius: float, x: float, y: float) -> Mask:
    rows, columns = np.ogrid[:180, :280]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


def make_results(images: int, *, everything: bool = True) -> CrossValidation:
    """A cross-validation as one of DDTI could come out, of discs and drawn numbers."""
    generator = np.random.default_rng(7)
    ids = tuple(f"{index}_1" for index in range(images))
    groups = tuple(f"patient {index // 3}" for index in range(images))
    labels = (np.arange(images) // 3 % 6 > 0).astype(np.int64)
    patient_folds = np.array([generator.permutation(images) % FOLDS for _ in range(SEEDS)])
    folds = patient_folds[:, np.arange(images) // 3]

    segmentation, masks = [], {}
    for seed in range(SEEDS):
        for index, image in enumerate(ids):
            x, y, radius = generator.uniform((80, 70, 20), (200, 110, 50))
            miss = generator.exponential(6)
            predicted = disc(radius, x + miss, y) if miss < 25 else np.zeros((180, 280), np.bool_)
            truth = disc(radius, x, y)
            masks[seed, image] = (truth, predicted)
            fold = int(folds[seed, index])
            segmentation.append(
                measure_image(image, groups[index], fold, predicted, truth, seed=seed)
            )

    def scores(strength: float) -> ClassificationScores:
        logits = generator.normal(strength * labels, 1.5, (SEEDS, images))
        logits[:, ::40] = np.nan
        calibrated = [
            cross_fitted_calibration(of_seed, labels, row).values
            for of_seed, row in zip(folds, logits, strict=True)
        ]
        return ClassificationScores(ids, groups, labels, folds, np.array(calibrated))

    def classifier(name: str, strength: float) -> Classifier:
        of = scores(strength)
        return Classifier(
            name,
            of,
            (
                cross_fitted_calls("screening", of, screening_threshold),
                cross_fitted_calls("balanced", of, balanced_threshold),
                cross_fitted_calls("best F1", of, f1_threshold_with_specificity),
            ),
        )

    network = classifier("ResNet-18, predicted regions", 1.6)
    forest = classifier("Random Forest, shape", 0.6)
    required: dict[str, Any] = {
        "protocol": {"folds": FOLDS, "seeds": SEEDS, "grouped_by": "patient"},
        "segmentation": {"TransUNet, compact": tuple(segmentation)},
        "classifiers": (network, forest),
    }
    if not everything:
        return CrossValidation(**required)
    decisions = np.array(
        [
            cross_fitted(
                of_seed,
                (labels, row, np.array(groups)),
                row,
                fit_operating_point,
                OperatingPoint.decide,
            ).values
            for of_seed, row in zip(folds, network.scores.scores, strict=True)
        ]
    )
    worst = worst_results(tuple(segmentation), 6)
    present = np.arange(60) < 40
    curve = np.linspace(0, 1, len(SHARES))
    level = generator.normal(0.8, 0.05, (images, 1))
    return CrossValidation(
        **required,
        comparisons=((network.name, forest.name),),
        detection=(
            NoduleDetection(
                "phantoms",
                tuple(f"phantom {index}" for index in range(60)),
                present,
                present ^ (generator.random((SEEDS, 60)) < 0.1),
            ),
        ),
        served=Served(
            network.name,
            fit_calibration(generator.normal(labels, 1), labels),
            fit_operating_point(labels, network.scores.scores.mean(axis=0), groups),
            decisions,
        ),
        out_of_distribution=OutOfDistribution(
            OodScores("DDTI, out of fold", groups, generator.gamma(20, 0.025, (SEEDS, images))),
            tuple(
                OodScores(
                    name,
                    tuple(f"picture {index}" for index in range(50)),
                    generator.gamma(20, size / 20, (SEEDS, 50)),
                )
                for name, size in (("breast", 0.9), ("noise", 3.0), ("inverted", 1.4))
            ),
        ),
        explanations=Explanations(
            groups,
            SHARES,
            deletion=level - 0.5 * curve**0.5,
            insertion=level - 0.5 + 0.5 * curve**0.5,
            random_deletion=level - 0.5 * curve,
            random_insertion=level - 0.5 + 0.5 * curve,
            mass_inside=generator.beta(6, 4, images),
            area_inside=generator.beta(4, 6, images),
        ),
        feature_importances={"shape": {"circularity": 0.2, "convexity": 0.5}},
        worst=tuple(
            CaseOutline(row.id, *masks[row.seed, row.id], row.dice, row.hausdorff95_px)
            for row in worst
        ),
    )
