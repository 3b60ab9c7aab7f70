"""The whole two-stage path out of fold: every fold fitted, judged, pooled."""

from __future__ import annotations

from dataclasses import asdict

import torch
from tqdm import tqdm

from thyroid_pipeline import contract
from thyroid_training.cross_validation_results import CrossValidation
from thyroid_training.fold_fits import FoldFits
from thyroid_training.fold_outcome import judge_fold
from thyroid_training.judge import judge
from thyroid_training.protocol import FOLDS
from thyroid_training.transunet_config import SIZES


def cross_validate(fits: FoldFits) -> CrossValidation:
    """Fit what is missing of every fold, and judge it.

    Args:
        fits: All fits.

    Returns:
        What the report is made of.

    Raises:
        RunError: The runs' folder holds runs of another recipe.
    """
    outcomes = [judge_fold(fits, fold) for fold in tqdm(range(FOLDS), desc="folds", disable=None)]
    recipe, samples = fits.recipe, fits.sets.ddti
    protocol = {
        "folds": FOLDS,
        "split": "stratified by grade, grouped by patient and duplicate",
        "images": len(samples),
        "graded": sum(sample.label is not None for sample in samples),
        "patients": len({sample.group for sample in samples}),
        "recipe": asdict(recipe),
        "transunet": asdict(SIZES[recipe.size]),
        "roi_side_px": contract.ROI_SIDE_PX,
        "torch": torch.__version__,
    }
    return judge(outcomes, recipe, protocol)
