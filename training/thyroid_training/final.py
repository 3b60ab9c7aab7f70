"""What is served: networks fitted on everything, with what the cross-validation says of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thyroid_pipeline import contract
from thyroid_training.calibration import Calibration
from thyroid_training.cross_validation_report import FIGURES_FILE
from thyroid_training.fit_segmentation import predict
from thyroid_training.fold_fits import FoldFits
from thyroid_training.fold_outcome import known_features
from thyroid_training.forest_run import save_forest_run, training_table
from thyroid_training.ood import fit_gate
from thyroid_training.operating_point import OperatingPoint
from thyroid_training.protocol import FOLDS
from thyroid_training.runs import Run
from thyroid_training.serving import ClassificationGraph, SegmentationGraph

# What of the report's section `served` is served.
_SERVED = ("calibration", "operating_point", "gate_limits")


def fit_served(fits: FoldFits, report: Path, out: Path) -> list[Path]:
    """Fit all three models on everything, and keep them as they are served.

    Nothing is judged here, since nothing is left to judge on: calibration, operating point and the
    gate's limits are those that the cross-validation found out of fold.

    Args:
        fits: All fits; those of the folds are read for the forest, which learns from predictions
            that are out of fold, as those are that it will be served.
        report: Folder of the cross-validation's report.
        out: Folder of the runs, one for each model, as `thyroid-export` takes them.

    Returns:
        The runs' folders.

    Raises:
        FileNotFoundError: There is no report.
        ValueError: The report lacks what is served.
        RunError: The fits are of another recipe.
    """
    served = _read_served(report / FIGURES_FILE)
    point, calibration = OperatingPoint(**served["operating_point"]), served["calibration"]
    segmentation = fits.segmentation(None)
    seed = fits.recipe.classification_seeds[0]
    classification = fits.classification(None, segmentation, seed)
    samples = fits.fitted_on(None)
    _, seen = predict(segmentation, [sample.frame for sample in samples])
    known = known_features(segmentation, samples, seen, fits.recipe)
    gate = fit_gate([known.thyroids, known.phantoms], served["gate_limits"])
    made_by = {"recipe": asdict(fits.recipe), "out_of_fold": served}
    folders = []
    for model, network, graph in (
        (
            contract.TRANSUNET,
            f"transunet-{fits.recipe.size}",
            SegmentationGraph(segmentation, gate),
        ),
        (
            contract.RESNET18,
            "resnet18",
            ClassificationGraph(classification, Calibration(**calibration), point),
        ),
    ):
        run = Run(out / model.name)
        run.save(graph, {"network": network, "data": {"ddti": len(samples)}, **made_by})
        folders.append(run.folder)
    table = training_table(samples, _out_of_fold_maps(fits))
    folders.append(out / contract.MORPHOLOGY_FOREST.name)
    save_forest_run(folders[-1], table, fits.recipe.forest, {"ddti": len(samples)})
    return folders


def _out_of_fold_maps(fits: FoldFits) -> list[npt.NDArray[np.uint8]]:
    """The map of each sample by the network that never saw it, in the order of the set."""
    maps: dict[str, npt.NDArray[np.uint8]] = {}
    for fold in range(FOLDS):
        held_out = fits.held_out(fold)
        predicted, _ = predict(fits.segmentation(fold), [sample.frame for sample in held_out])
        maps |= {s.name: map_ for s, map_ in zip(held_out, predicted, strict=True)}
    return [maps[sample.name] for sample in fits.sets.ddti]


def _read_served(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: the report of `thyroid-train cross-validate` was wanted, for "
            "calibration and operating point come from it; run that first"
        )
    served: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["served"]
    missing = [name for name in _SERVED if name not in served]
    if missing:
        raise ValueError(
            f"{path} says nothing of {', '.join(missing)}; a report with {', '.join(_SERVED)} was "
            "wanted, as this version of `thyroid-train cross-validate` writes it: run that again"
        )
    return {name: served[name] for name in _SERVED}
