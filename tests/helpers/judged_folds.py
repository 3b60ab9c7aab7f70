"""Numbers of folds that no network made: as good or as bad as a test wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from thyroid_pipeline import contract
from thyroid_pipeline.crop import Crop
from thyroid_pipeline.mask_png import encode_mask
from thyroid_training.classification_scores import Classifier
from thyroid_training.cross_validation_results import CrossValidation
from thyroid_training.dataset import Sample
from thyroid_training.figures_segmentation import measure_image
from thyroid_training.fit import FitConfig
from thyroid_training.fold_outcome import (
    BREASTS,
    PHANTOMS,
    THYROIDS,
    VARIED_PHANTOMS,
    VARIED_THYROIDS,
    FoldOutcome,
    GateDistances,
)
from thyroid_training.forest import ForestConfig
from thyroid_training.forest_run import ForestTable
from thyroid_training.judge import RESNET, judge
from thyroid_training.protocol import FOLDS
from thyroid_training.recipe import (
    ClassificationPretraining,
    LinearLayer,
    Recipe,
    SegmentationStage,
)
from thyroid_training.resnet18 import ResNet18

GRADES = (0, 0, 1, 1)
FIELDS = len(contract.MORPHOLOGY_FIELDS)
HEIGHT_PX, WIDTH_PX = 24, 36
CHANGED = 2

FIT = FitConfig(epochs=1)
RECIPE = Recipe(
    segmentation=SegmentationStage(FIT, 0),
    classification_pretraining=ClassificationPretraining(FIT),
    classification=LinearLayer(1.0),
    forest=ForestConfig(("circularity", "echo_ratio"), trees=3, min_samples_leaf=1),
)


class Brightness(ResNet18):
    """A classifier that takes the bright for malignant."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def table(generator: np.random.Generator) -> ForestTable:
    labels = np.tile(GRADES, 3).astype(np.int64)
    return ForestTable(generator.random((len(labels), FIELDS)).astype(np.float32), labels)


def disc(radius: float) -> NDArray[np.bool_]:
    rows, columns = np.indices((HEIGHT_PX, WIDTH_PX))
    return np.asarray(np.hypot(rows - 12, columns - 18) <= radius)


def make_sample(name: str, label: int | None) -> Sample:
    """What is judged of a sample: its name, its patient and its grade."""
    nothing: Any = None
    return Sample(name, f"patient of {name}", nothing, nothing, disc(8), nothing, label)


def make_crop(generator: np.random.Generator, *, found: bool) -> Crop:
    side = contract.ROI_SIDE_PX
    roi = generator.integers(0, 256, (side, side)) if found else np.zeros((side, side))
    figures = generator.random(FIELDS) if found else np.full(FIELDS, np.nan)
    return Crop(
        roi.astype(np.uint8),
        found,
        np.array([10, 4, 16, 16] if found else [0, 0, 0, 0], np.int32),
        encode_mask(disc(8 if found else -1)),
        figures.astype(np.float32),
    )


def make_outcome(
    fold: int,
    logits: Sequence[float],
    *,
    labels: Sequence[int] = GRADES,
    radius: float = 6,
    distance: float = 1.0,
) -> FoldOutcome:
    """One fold: as many graded images as labels, and one without a grade.

    Args:
        fold: Its number; everything random follows from it.
        logits: Of the graded; NaN where nothing was found.
        labels: Of the graded.
        radius: Of every mask that was predicted, where 8 is the truth.
        distance: Of thyroids and phantoms to what the gate knows, about.
    """
    generator = np.random.default_rng(fold)
    graded = tuple(make_sample(f"{fold}_{row}", label) for row, label in enumerate(labels))
    everything = (*graded, make_sample(f"{fold}_ungraded", None))
    found = ~np.isnan(np.asarray(logits))
    masks = {
        sample.name: disc(radius if is_found else -1)
        for sample, is_found in zip(everything, (*found, found.any()), strict=True)
    }
    side, cells = contract.ROI_SIDE_PX, contract.EVIDENCE_SIDE

    def distances(names: tuple[str, ...], about: float) -> GateDistances:
        drawn = about * generator.uniform(0.5, 1.5, (2, len(names)))
        return GateDistances(names, *drawn.astype(np.float32))

    return FoldOutcome(
        fold=fold,
        images=tuple(
            measure_image(s.name, s.group, fold, masks[s.name], s.truth) for s in everything
        ),
        graded=graded,
        masks=masks,
        truths={sample.name: sample.truth for sample in everything},
        logits=np.array([logits], np.float64),
        crops=tuple(make_crop(generator, found=bool(is_found)) for is_found in found),
        evidence=generator.normal(size=(len(labels), cells, cells)).astype(np.float32),
        nodules=np.ones((len(labels), side, side), np.bool_),
        classification=Brightness(),
        outlined_table=table(generator),
        predicted_table=table(generator),
        outlined=generator.random((len(labels), FIELDS)).astype(np.float32),
        phantoms=((f"with {fold}", True, bool(found.any())), (f"without {fold}", False, False)),
        distances={
            **{kind: distances(tuple(masks), distance) for kind in (THYROIDS, VARIED_THYROIDS)},
            **{
                kind: distances((f"with {fold}", f"without {fold}"), distance)
                for kind in (PHANTOMS, VARIED_PHANTOMS)
            },
            BREASTS: distances((f"breast {fold} a", f"breast {fold} b"), 2.0),
        },
    )


def by(logit_of: dict[int, float], **options: Any) -> CrossValidation:
    """All folds, each with the same logit for each grade."""
    logits = [logit_of[label] for label in GRADES]
    return judge([make_outcome(fold, logits, **options) for fold in range(FOLDS)], RECIPE, {})


def drawn_logits(fold: int) -> list[float]:
    """Logits that tell the grades apart, more or less."""
    generator = np.random.default_rng(100 + fold)
    return [float(generator.normal(1.5 * label, 1.0)) for label in GRADES]


def resnet(results: CrossValidation) -> Classifier:
    return results.classifier(RESNET)
