"""The right answers to a pool, computed by the offline pipeline before the load."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thyroid_benchmarks.pool import read_pool
from thyroid_benchmarks.references import (
    MALIGNANCY_TOLERANCE,
    MASK_FOLDER,
    REFERENCE_FILE,
    weights_digest,
)
from thyroid_pipeline import contract
from thyroid_pipeline.crop import crop_nodule
from thyroid_pipeline.frame import make_frame

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from thyroid_training.offline import OfflineAnswer


def write_references(folder: Path, model_repository: Path, threads: int) -> None:
    """Answer every image of a pool offline and keep the answers in its folder.

    Raises:
        ImageError: An image that is not meant to be corrupt cannot be screened.
    """
    # Here: torch takes seconds to import, and the load's process does without.
    import onnxruntime  # noqa: PLC0415
    import torch  # noqa: PLC0415

    from thyroid_training.checkpoint import load_classification_graph, onnx_path  # noqa: PLC0415
    from thyroid_training.offline import (  # noqa: PLC0415
        OfflinePipeline,
        read_cropper_parameters,
    )

    torch.set_num_threads(threads)
    pool = read_pool(folder)
    offline = OfflinePipeline.from_repository(model_repository)
    parameters = read_cropper_parameters(model_repository)
    thresholds = load_classification_graph(
        onnx_path(model_repository, contract.RESNET18)
    ).operating_point.tolist()
    forest = onnxruntime.InferenceSession(
        str(onnx_path(model_repository, contract.MORPHOLOGY_FOREST)),
        providers=["CPUExecutionProvider"],
    )
    (folder / MASK_FOLDER).mkdir(exist_ok=True)
    answers = {}
    for case, content in zip(pool.cases, pool.contents, strict=True):
        if case.kind == "corrupt":
            continue
        answer = offline.screen(content)
        (folder / MASK_FOLDER / f"{case.index:05d}.png").write_bytes(answer.crop.mask)
        answers[str(case.index)] = {
            "nodule_found": bool(answer.crop.nodule_found),
            "malignancy": _or_none(answer.malignancy),
            "box": [int(value) for value in answer.crop.box],
            "decisions": _decisions(answer.decision, answer.malignancy, thresholds),
            "ood_score": answer.ood_score,
            "forest_range": _forest_range(forest, content, answer, parameters),
        }
    document = {"weights": weights_digest(model_repository), "answers": answers}
    text = json.dumps(document, indent=1) + "\n"
    (folder / REFERENCE_FILE).write_text(text, encoding="utf-8")


def _decisions(
    decision: contract.Decision, malignancy: float, thresholds: Sequence[float]
) -> list[int]:
    """What may be decided, given how far the malignancy may be apart; without one, that alone."""
    if math.isnan(malignancy):
        return [int(decision)]
    reached = {
        sum(malignancy + moved >= threshold for threshold in thresholds)
        for moved in (-MALIGNANCY_TOLERANCE, 0.0, MALIGNANCY_TOLERANCE)
    }
    return sorted(int(contract.Decision.ROUTINE) + count for count in reached)


def _forest_range(
    forest: InferenceSession,
    content: bytes,
    answer: OfflineAnswer,
    parameters: contract.CropperParameters,
) -> tuple[float, float] | None:
    """What the forest may say, given that a probability may be rounded to either side."""
    frame, geometry = make_frame(content)
    maps = (np.clip(answer.nodule_probability + np.int16(moved), 0, 255) for moved in (0, -1, 1))
    crops = [crop_nodule(frame, each.astype(np.uint8), geometry, parameters) for each in maps]
    known = {
        contract.MORPHOLOGY.name: np.stack([crop.morphology for crop in crops]),
        contract.NODULE_FOUND.name: np.array([[crop.nodule_found] for crop in crops]),
        contract.OOD_SCORE.name: np.full((len(crops), 1), answer.ood_score, np.float32),
    }
    said = forest.run([contract.FOREST_MALIGNANCY.name], known)[0].reshape(-1)
    return None if np.isnan(said[0]) else (float(np.nanmin(said)), float(np.nanmax(said)))


def _or_none(number: float) -> float | None:
    return None if math.isnan(number) else float(number)
