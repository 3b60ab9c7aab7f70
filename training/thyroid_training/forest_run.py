"""From outlined images to a forest's training table, and the run folder that keeps it.

A forest's run holds the table it is fitted on, figures and grades, and no trees: fitting takes a
second and is determined by its seed, while a pickled forest runs code when it is read and binds
the folder to one version of scikit-learn.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn

from thyroid_pipeline import contract
from thyroid_pipeline.crop import crop_nodule
from thyroid_pipeline.nodules import find_nodules
from thyroid_training.dataset import Sample, shrink
from thyroid_training.forest import Forest, ForestConfig, fit_forest
from thyroid_training.runs import Run, RunError

TABLE_FILE = "table.npz"


@dataclass(frozen=True)
class ForestTable:
    """What a forest is fitted on.

    Attributes:
        morphology: FP32 [N, len(contract.MORPHOLOGY_FIELDS)], each row with a nodule's figures.
        labels: INT64 [N], 1 malignant, 0 benign.
    """

    morphology: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def outlined_morphology(samples: Sequence[Sample]) -> npt.NDArray[np.float32]:
    """Measure the nodules as they were outlined, by the cropper that serves.

    The outline goes in as a map of probabilities on the network's grid, where a pixel's share
    within it is its probability: so it is thresholded, smoothed and measured as a predicted one is,
    and a difference between the two is the network's and not the grid's.

    Args:
        samples: With outlines.

    Returns:
        FP32 [N, len(contract.MORPHOLOGY_FIELDS)]; NaN throughout where there is no outline, or
        only one that the cropper would take for a speck.
    """
    return predicted_morphology(samples, [_outline_map(sample) for sample in samples])


def _outline_map(sample: Sample) -> npt.NDArray[np.uint8]:
    full = np.where(sample.mask, np.uint8(contract.PROBABILITY_SCALE), np.uint8(0))
    return shrink(full, contract.MAP_SIDE_PX)


def predicted_morphology(
    samples: Sequence[Sample],
    maps: Sequence[npt.NDArray[np.uint8]],
    parameters: contract.CropperParameters | None = None,
) -> npt.NDArray[np.float32]:
    """Measure the nodules as they were predicted, by the cropper that serves.

    Args:
        samples: Whose frames were segmented.
        maps: UINT8 [MAP_SIDE_PX, MAP_SIDE_PX] for each, probability times 255.
        parameters: The cropper's; its defaults where not given.

    Returns:
        FP32 [N, len(contract.MORPHOLOGY_FIELDS)]; NaN throughout where no nodule was found.

    Raises:
        ValueError: There is not one map for each sample.
    """
    parameters = parameters or contract.CropperParameters()
    rows = [
        crop_nodule(sample.frame, probability, sample.geometry, parameters).morphology
        for sample, probability in zip(samples, maps, strict=True)
    ]
    return np.array(rows, np.float32).reshape(-1, len(contract.MORPHOLOGY_FIELDS))


def training_table(
    samples: Sequence[Sample], maps: Sequence[npt.NDArray[np.uint8]] | None = None
) -> ForestTable:
    """Make the table to fit a forest on: every graded nodule by its outline and as predicted.

    The forest is served predicted outlines, which are smoother than a radiologist's: fitted on the
    latter alone it would take the network's hand for a trait of the nodule. Where a prediction
    missed the nodule altogether the grade says nothing about what was measured, and the row is left
    out.

    Args:
        samples: With outlines; those without a grade are left out.
        maps: Of each sample, out of fold where that can be had, since a network outlines the
            images that it was fitted on too well; None for the true outlines alone.

    Returns:
        The table: rows of outlines first, rows of predictions after them.

    Raises:
        ValueError: There is not one map for each sample.
    """
    graded = [index for index, sample in enumerate(samples) if sample.label is not None]
    chosen = [samples[index] for index in graded]
    labels = np.array([sample.label for sample in chosen], np.int64)
    morphology, grades = outlined_morphology(chosen), labels
    if maps is not None:
        if len(maps) != len(samples):
            raise ValueError(
                f"{len(maps)} maps came for {len(samples)} samples; one for each was wanted: "
                "segment every sample's frame"
            )
        found = [_prediction(samples[index], maps[index]) for index in graded]
        morphology, grades = np.concatenate((morphology, found)), np.concatenate((labels, labels))
    known = ~np.isnan(morphology).all(axis=1)
    return ForestTable(morphology[known], grades[known])


def _prediction(sample: Sample, probability: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The figures of the predicted nodule; NaN throughout where it misses the outlined one."""
    nodules = find_nodules(probability, sample.geometry, contract.CropperParameters())
    if nodules is None or not (nodules.largest & sample.truth).any():
        return np.full(len(contract.MORPHOLOGY_FIELDS), np.nan, np.float32)
    return np.asarray(predicted_morphology([sample], [probability])[0], np.float32)


def save_forest_run(
    folder: Path, table: ForestTable, config: ForestConfig, data: Mapping[str, object]
) -> Forest:
    """Fit a forest and keep what it takes to fit it again.

    Args:
        folder: Of the run; made where it does not exist.
        table: What it is fitted on.
        config: How.
        data: What the table was made of, for the manifest.

    Returns:
        The forest.

    Raises:
        ValueError: The table cannot be fitted on.
    """
    forest = fit_forest(table.morphology, table.labels, config)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "partial"
    with partial.open("wb") as file:
        np.savez(file, morphology=table.morphology, labels=table.labels)
    partial.replace(folder / TABLE_FILE)
    record = {
        "scikit-learn": sklearn.__version__,
        "network": contract.MORPHOLOGY_FOREST.name,
        "data": {**data, "rows": len(table.labels), "malignant": int(table.labels.sum())},
        "morphology_fields": contract.MORPHOLOGY_FIELDS,
        "fit": asdict(config),
    }
    partial.write_text(json.dumps(record, indent=2) + "\n")
    partial.replace(Run(folder).record)
    return forest


def load_forest_run(folder: Path) -> tuple[Forest, dict[str, object]]:
    """Fit a run's forest again, from its table and by its seed.

    Args:
        folder: Of the run.

    Returns:
        The forest, and the run's record.

    Raises:
        FileNotFoundError: The folder holds no run, or no table.
        RunError: It is another network's run, its table cannot be read, or its figures are not the
            contract's of today.
    """
    run = Run(folder)
    record: dict[str, Any] = run.read_record()
    if record.get("network") != contract.MORPHOLOGY_FOREST.name:
        raise RunError(
            f"{run.record} says `network` is {record.get('network')!r}; "
            f"{contract.MORPHOLOGY_FOREST.name} was wanted: give the folder of a forest's run"
        )
    if record.get("morphology_fields") != list(contract.MORPHOLOGY_FIELDS):
        raise RunError(
            f"{run.record} was made with the figures {record.get('morphology_fields')}; "
            f"{', '.join(contract.MORPHOLOGY_FIELDS)} were wanted, which the cropper gives: make "
            "the run again"
        )
    table = _read_table(folder / TABLE_FILE)
    try:
        fit = record["fit"]
        config = ForestConfig(**{**fit, "fields": tuple(fit["fields"])})
        return fit_forest(table.morphology, table.labels, config), record
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{run.record} describes no forest that can be fitted on its table ({error}); a run "
            "as `save_forest_run` writes it was wanted: make the run again"
        ) from error


def _read_table(path: Path) -> ForestTable:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: the folder of a forest's run was wanted, with its table"
        )
    try:
        # Opened here: numpy leaves a file open that is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return ForestTable(arrays["morphology"], arrays["labels"])
    except (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(
            f"{path} holds no table of a forest ({error}); arrays `morphology` and `labels` were "
            "wanted: make the run again"
        ) from error
