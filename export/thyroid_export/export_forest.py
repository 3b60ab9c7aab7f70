"""From a forest's run to an ONNX file in the repository, held to scikit-learn and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from thyroid_export.forest_graph import forest_graph
from thyroid_export.manifest import FOREST_MAKERS, Artefact, describe, record
from thyroid_export.parity import Arrays, check_file
from thyroid_export.parity_inputs import forest_inputs
from thyroid_pipeline import contract
from thyroid_training.checkpoint import onnx_path
from thyroid_training.forest import Forest, forest_malignancy
from thyroid_training.forest_run import load_forest_run

_PARITY_ROWS = 4096


def answer(forest: Forest, inputs: Sequence[npt.NDArray[np.generic]]) -> Arrays:
    """What `contract.MORPHOLOGY_FOREST` should answer, by scikit-learn.

    Args:
        forest: Fitted.
        inputs: One array for each of the model's inputs, batch axis first.

    Returns:
        Its output by name, FP32 [B, 1].
    """
    morphology, found, scores = inputs
    malignancy = forest_malignancy(forest, np.asarray(morphology, np.float32))[:, None]
    is_answered = found.astype(np.bool_) & (scores.astype(np.float32) <= contract.OOD_LIMIT)
    wanted = np.where(is_answered, malignancy, np.nan).astype(np.float32)
    return {contract.FOREST_MALIGNANCY.name: wanted}


def export_forest_run(run_folder: Path, repository: Path) -> Artefact:
    """Export a forest's run into the repository.

    Args:
        run_folder: As `thyroid_training.forest_run.save_forest_run` wrote it.
        repository: The model repository.

    Returns:
        The manifest's new entry.

    Raises:
        FileNotFoundError: The run holds no record or no table.
        ParityError: The file does not answer as scikit-learn does. It stays beside the served one
            for a look, as *.candidate.onnx; what is served and recorded is left as it was.
        RunError: The run is not a forest's, or not of today's figures.
    """
    model = contract.MORPHOLOGY_FOREST
    forest, source = load_forest_run(run_folder)
    path = onnx_path(repository, model)
    candidate = path.with_suffix(".candidate.onnx")
    candidate.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(forest_graph(forest), candidate)
    inputs = forest_inputs(forest, _PARITY_ROWS, seed=0)
    wanted = answer(forest, inputs)
    figures = check_file(wanted, candidate, model, inputs, reference="scikit-learn")
    candidate.replace(path)
    artefact = describe(repository, path, source, figures, FOREST_MAKERS)
    record(repository, artefact)
    return artefact
