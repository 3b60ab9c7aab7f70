"""The accuracy of the curve: every fit there is, judged on patients that it never saw, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from thyroid_pipeline import contract
from thyroid_pipeline.nodules import find_nodules
from thyroid_training import bootstrap
from thyroid_training.checkpoint import load_classification_graph
from thyroid_training.cross_validation_report import plain_figures
from thyroid_training.curve_regions import REGION_SIDES_PX, judge_regions
from thyroid_training.curve_variants import (
    describe_variant,
    finished_folds,
    fit_variant,
    is_shipped,
    variants,
)
from thyroid_training.figures_segmentation import (
    ImageResult,
    measure_image,
    segmentation_intervals,
)
from thyroid_training.fit_segmentation import predict
from thyroid_training.fold_fits import FoldFits
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import SIZES

CURVE_FILE = "accuracy_curve.json"


def write_accuracies(fits: FoldFits, out: Path, stages_file: Path, report_file: Path) -> Path:
    """Judge all variants that were fitted, and all sides of regions.

    Args:
        fits: The recipe and the sets.
        out: Folder of the variants' runs; the file is written there.
        stages_file: The shipped ResNet-18 (ONNX), whose stages saw no thyroid; its linear layer is
            not used.
        report_file: `cross_validation.json`, for the shipped TransUNet where it was not fitted in
            `out`.

    Returns:
        The file, without times: `benchmarks/accuracy_curve.py` adds them.

    Raises:
        CheckpointError: `stages_file` holds no ResNet-18.
        FileNotFoundError: There is no such file.
        RunError: `out` holds runs of another recipe.
        ValueError: Nothing was fitted, or the report is of another recipe.
    """
    stages = load_classification_graph(stages_file).network
    fitted = {name: folds for name in variants() if (folds := finished_folds(out, name))}
    if not fitted:
        raise ValueError(
            f"{out} holds no finished fit of a variant; one at least was wanted: name some by "
            "--variant and --fold"
        )
    segmentation = [_variant(fits, out, name, folds) for name, folds in fitted.items()]
    if not any(row["shipped"] for row in segmentation):
        folds = sorted({fold for folds in fitted.values() for fold in folds})
        segmentation.append(_from_report(fits, folds, report_file))
    samples = fits.sets.ddti
    document = {
        "protocol": {
            "split": "stratified by grade, grouped by patient and duplicate",
            "images": len(samples),
            "patients": len({sample.group for sample in samples}),
            "segmentation": fits.recipe.segmentation,
            "classification": fits.recipe.classification,
            "augment": fits.recipe.augment,
            "regions": "cut by the radiologists' outlines; stages of the shipped ResNet-18, which "
            "saw no thyroid, and a linear layer fitted out of fold",
            "torch": torch.__version__,
        },
        "intervals": {
            "level": bootstrap.LEVEL,
            "resamples": bootstrap.RESAMPLES,
            "seed": bootstrap.SEED,
            "method": "percentile bootstrap over patients (for a classifier stratified by grade)",
        },
        "segmentation": segmentation,
        "classification": judge_regions(fits, stages, REGION_SIDES_PX),
    }
    path = out / CURVE_FILE
    path.write_text(json.dumps(plain_figures(document), indent=1) + "\n", encoding="utf-8")
    return path


def judge_variant(fits: FoldFits, network: TransUNet, fold: int) -> list[ImageResult]:
    """Segment a fold's held-out images as they are served, and measure each in its own pixels."""
    held_out = fits.held_out(fold)
    maps, _ = predict(network, [sample.frame for sample in held_out])
    results = []
    for sample, probability in zip(held_out, maps, strict=True):
        found = find_nodules(probability, sample.geometry, contract.CropperParameters())
        mask = np.zeros_like(sample.truth) if found is None else found.mask
        results.append(measure_image(sample.name, sample.group, fold, mask, sample.truth))
    return results


def _variant(fits: FoldFits, out: Path, name: str, folds: list[int]) -> dict[str, Any]:
    by_fold = {f: judge_variant(fits, fit_variant(fits, name, f, out), f) for f in folds}
    pooled = segmentation_intervals([result for rows in by_fold.values() for result in rows])
    return {
        **describe_variant(name),
        "source": "fitted for this curve",
        "images": sum(len(rows) for rows in by_fold.values()),
        "dice_mean": pooled["dice_mean"],
        "dice_mean_by_fold": {
            str(fold): float(np.mean([row.dice for row in rows])) for fold, rows in by_fold.items()
        },
    }


def _from_report(fits: FoldFits, folds: list[int], path: Path) -> dict[str, Any]:
    """The shipped shape's Dice by fold; its interval is known for all folds together only."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: the report of `thyroid-train cross-validate` was wanted, for "
            "the shipped network; give its path by --report, or fit the shipped variant here"
        )
    report = json.loads(path.read_text(encoding="utf-8"))
    protocol = report["protocol"]
    # Written and read, as the report was: tuples are lists there.
    shape = json.loads(json.dumps(asdict(SIZES[fits.recipe.size])))
    wanted = {"segmentation": asdict(fits.recipe.segmentation), "transunet": shape}
    kept = {
        "segmentation": protocol["recipe"].get("segmentation"),
        "transunet": protocol.get("transunet"),
    }
    if kept != wanted or protocol["images"] != len(fits.sets.ddti):
        raise ValueError(
            f"{path} is of {protocol['images']} images and of {kept}; "
            f"{len(fits.sets.ddti)} and {wanted} were wanted: give the report of this recipe"
        )
    dices = report["segmentation"][0]["dice_mean_by_seed_and_fold"][0]
    counts = {fold: len(fits.held_out(fold)) for fold in folds}
    name = next(name for name, config in variants().items() if is_shipped(config))
    mean = sum(dices[fold] * count for fold, count in counts.items()) / sum(counts.values())
    return {
        **describe_variant(name),
        "source": path.name,
        "images": sum(counts.values()),
        "dice_mean": {"estimate": mean, "low": None, "high": None},
        "dice_mean_by_fold": {str(fold): dices[fold] for fold in folds},
    }
