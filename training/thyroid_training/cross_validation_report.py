"""From the numbers of a cross-validation to the files that documents are made from."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from thyroid_pipeline import contract
from thyroid_training import bootstrap, plots_classification, plots_gate, plots_segmentation
from thyroid_training.classification_scores import PUBLISHED, Classifier, all_malignant
from thyroid_training.cross_validation_results import CrossValidation, Served
from thyroid_training.cross_validation_tables import report_tables
from thyroid_training.explanation_figures import explanation_intervals
from thyroid_training.figures_classification import (
    auroc_by_seed_and_fold,
    calibration_error_by_chance,
    call_intervals,
    decision_intervals,
    difference_intervals,
    score_intervals,
)
from thyroid_training.figures_segmentation import (
    ImageResult,
    SeedTable,
    detection_intervals,
    segmentation_intervals,
)
from thyroid_training.ood_figures import ood_intervals
from thyroid_training.weighted_metrics import CALIBRATION_BINS

FIGURES_FILE = "cross_validation.json"
TABLES_FILE = "table.md"
IMAGES_FILE = "images.csv"

_DECIMALS = 6


def write_report(results: CrossValidation, folder: Path) -> list[Path]:
    """Write figures, tables, the numbers of each image, and plots.

    The same results give the same bytes, with the same versions of numpy and matplotlib.

    Args:
        results: Of the cross-validation.
        folder: Made where it is missing; files of an earlier report are replaced.

    Returns:
        The files: `cross_validation.json`, `table.md`, `images.csv` and PNGs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = report_figures(results)
    figures, tables, images = (folder / name for name in (FIGURES_FILE, TABLES_FILE, IMAGES_FILE))
    figures.write_text(
        json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    tables.write_text(report_tables(document), encoding="utf-8")
    _write_images(results, images)
    return [
        figures,
        tables,
        images,
        *plots_segmentation.draw(results, folder),
        *plots_classification.draw(results, folder),
        *plots_gate.draw(results, folder),
    ]


def report_figures(results: CrossValidation) -> dict[str, Any]:
    """All figures with their intervals, as JSON knows values: numbers, text, lists, null.

    Args:
        results: Of the cross-validation.

    Returns:
        A document of the sections in `docs` order; a figure is `{"estimate", "low", "high"}`, null
        where it is not defined. Sections that were not run are missing.
    """
    labels = results.classifiers[0].scores.labels
    document: dict[str, Any] = {
        "protocol": results.protocol,
        "intervals": {
            "level": bootstrap.LEVEL,
            "resamples": bootstrap.RESAMPLES,
            "seed": bootstrap.SEED,
            "method": "percentile bootstrap over patients (for a classifier stratified by grade), "
            "of the mean over seeds",
            "calibration_error": f"expected, {CALIBRATION_BINS} bins of equal mass",
        },
        "segmentation": [_segmentation(name, rows) for name, rows in results.segmentation.items()],
        "detection": [
            {
                "name": frames.name,
                "frames": len(frames.groups),
                "with_nodule": int(frames.present.sum()),
                "figures": detection_intervals(frames),
            }
            for frames in results.detection
        ],
        "classification": {
            "images": len(labels),
            "malignant": int(labels.sum()),
            "patients": len(set(results.classifiers[0].scores.groups)),
            "classifiers": [
                _classifier(row)
                for row in (all_malignant(results.classifiers[0].scores), *results.classifiers)
            ],
            "differences": [
                {
                    "of": one,
                    "less": other,
                    "figures": difference_intervals(
                        results.classifier(one), results.classifier(other)
                    ),
                }
                for one, other in results.comparisons
            ],
            "published": PUBLISHED,
        },
        "feature_importances": results.feature_importances,
    }
    if results.served is not None:
        document["served"] = _served(results, results.served)
    if results.out_of_distribution is not None:
        gate = results.out_of_distribution
        document["out_of_distribution"] = {
            "limit": contract.OOD_LIMIT,
            "sets": ood_intervals(gate.inside, gate.foreign),
        }
    if results.explanations is not None:
        document["explanation"] = {
            "images": len(results.explanations.groups),
            "figures": explanation_intervals(results.explanations),
        }
    plain: dict[str, Any] = plain_figures(document)
    return plain


def _segmentation(name: str, rows: tuple[ImageResult, ...]) -> dict[str, object]:
    table = SeedTable(rows)
    dices = table.values(lambda result: result.dice)
    return {
        "name": name,
        "images": len(table.ids),
        "patients": len(set(table.groups)),
        "seeds": table.seeds,
        "figures": segmentation_intervals(rows),
        "dice_mean_by_seed_and_fold": [
            [float(row[folds == fold].mean()) for fold in np.unique(folds)]
            for row, folds in zip(dices, table.folds, strict=True)
        ],
    }


def _classifier(row: Classifier) -> dict[str, object]:
    return {
        "name": row.name,
        "seeds": len(row.scores.scores),
        "figures": score_intervals(row.scores),
        "calibration_error_by_chance": calibration_error_by_chance(row.scores),
        "auroc_by_seed_and_fold": auroc_by_seed_and_fold(row.scores),
        "operating_points": [
            {
                "name": calls.name,
                "figures": call_intervals(row.scores, calls),
                "thresholds_by_seed_and_fold": calls.thresholds,
            }
            for calls in row.calls
        ],
    }


def _served(results: CrossValidation, served: Served) -> dict[str, object]:
    scores = results.classifier(served.classifier).scores
    return {
        "classifier": served.classifier,
        "calibration": served.calibration,
        "operating_point": served.point,
        "gate_limits": served.gate_limits,
        "decisions_out_of_fold": decision_intervals(scores, served.decisions),
    }


def plain_figures(value: Any) -> Any:
    """As JSON has it: dataclasses as objects, arrays as lists, what is not a number as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain_figures(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(name): plain_figures(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain_figures(value.tolist())
    if isinstance(value, list | tuple):
        return [plain_figures(item) for item in value]
    if isinstance(value, float):
        return round(value, _DECIMALS) if math.isfinite(value) else None
    return value


def _write_images(results: CrossValidation, path: Path) -> None:
    """The numbers of each image, means over seeds; empty where one of them has none."""
    rows: dict[str, dict[str, object]] = {}
    for name, of_network in results.segmentation.items():
        table = SeedTable(of_network)
        columns = {
            "dice": table.values(lambda result: result.dice).mean(axis=0),
            "iou": table.values(lambda result: result.iou).mean(axis=0),
            "hausdorff95_px": table.values(lambda result: result.hausdorff95_px).mean(axis=0),
            "found_share": table.values(lambda result: result.found).mean(axis=0),
        }
        for index, image in enumerate(table.ids):
            row = rows.setdefault(image, {"id": image})
            row |= {f"{name}: {column}": _cell(of[index]) for column, of in columns.items()}
    for classifier in results.classifiers:
        scores = classifier.scores
        for index, image in enumerate(scores.ids):
            row = rows.setdefault(image, {"id": image})
            row["malignant"] = int(scores.labels[index])
            row[f"{classifier.name}: malignancy"] = _cell(scores.scores[:, index].mean())
    names = dict.fromkeys(name for row in rows.values() for name in row)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(names), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[image] for image in sorted(rows))


def _cell(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else ""
