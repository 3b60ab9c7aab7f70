"""`results.jsonl`: one JSON object per image and line, errors too.

`docs/results_schema.md` describes the lines for whoever reads them. Lines stand in the order in
which the images were done; `index` gives the order in which they were found. Pixels, names in image
metadata and the like never get into them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Literal, TypedDict, cast

from thyroid_client.screening import Screening, ScreenResult

# Raised when a field changes its meaning or goes; a new field does not raise it. 2: malignancy and
# evidence may be null with a nodule, where the image is out of distribution.
SCHEMA_VERSION = 2


class ErrorPart(TypedDict):
    """Why an image failed.

    Attributes:
        kind: The error's class, see `thyroid_client.errors`.
        message: What came, what was wanted and how to mend it.
        status: The gRPC status' name; None where the image was never sent.
        attempts: How often it was sent.
    """

    kind: str
    message: str
    status: str | None
    attempts: int


class ImagePart(TypedDict):
    """The size of the upright image."""

    width_px: int
    height_px: int


class BoxPart(TypedDict):
    """The box of the largest nodule, in pixels of the upright image."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int


class TimingsPart(TypedDict):
    """Where the time went, see `thyroid_client.Timings`."""

    prepare_ms: float
    round_trip_ms: float
    read_ms: float
    attempts: int


class Files(TypedDict):
    """What was written for an image, relative to the folder of `results.jsonl`; None if nothing."""

    mask_file: str | None
    overlay_file: str | None
    evidence_file: str | None


class ResultLine(Files):
    """One line.

    Attributes:
        schema_version: `SCHEMA_VERSION`.
        index: Which image it was, counted from 0 in the order in which they were found.
        source: Its path, as found from the paths on the command line.
        status: Whether it was screened.
        error: Why not; None if it was.
        image: None if it failed, as is all that follows.
        decision: The label of a `thyroid_client.Decision`.
        nodule_found: Whether a nodule was found.
        malignancy: Probability from 0 to 1; None without a nodule and out of distribution.
        forest_malignancy: The Random Forest's, from 0 to 1; None where `malignancy` is.
        ood_score: From 0; above `contract.OOD_LIMIT` the image is out of distribution.
        box: None without a nodule.
        morphology: By the names of `contract.MORPHOLOGY_FIELDS`; None without a nodule, a figure
            that could not be measured is None, too.
        evidence: Rows of the class activation map in logits; None where `malignancy` is.
        model_versions: By model.
        timings: Where the time went.
    """

    schema_version: int
    index: int
    source: str
    status: Literal["ok", "error"]
    error: ErrorPart | None
    image: ImagePart | None
    decision: str | None
    nodule_found: bool | None
    malignancy: float | None
    forest_malignancy: float | None
    ood_score: float | None
    box: BoxPart | None
    morphology: Mapping[str, float | None] | None
    evidence: list[list[float]] | None
    model_versions: Mapping[str, str] | None
    timings: TimingsPart | None


def result_line(result: ScreenResult, files: Files) -> ResultLine:
    """Put a result into the form of a line.

    Args:
        result: Of a source whose `str` is its path.
        files: What was written for it.
    """
    error, screening = result.error, result.screening
    line = ResultLine(
        schema_version=SCHEMA_VERSION,
        index=result.index,
        source=str(result.source),
        status="ok" if error is None else "error",
        error=None,
        image=None,
        decision=None,
        nodule_found=None,
        malignancy=None,
        forest_malignancy=None,
        ood_score=None,
        box=None,
        morphology=None,
        evidence=None,
        mask_file=files["mask_file"],
        overlay_file=files["overlay_file"],
        evidence_file=files["evidence_file"],
        model_versions=None,
        timings=None,
    )
    if error is not None:
        line["error"] = ErrorPart(
            kind=error.kind, message=str(error), status=error.status, attempts=error.attempts
        )
    if screening is not None:
        _add_screening(line, screening)
    return line


def to_json(line: ResultLine) -> str:
    """Return the line as JSON text, without its line feed; it never holds NaN."""
    return json.dumps(line, allow_nan=False)


def _add_screening(line: ResultLine, screening: Screening) -> None:
    height, width = screening.mask.shape
    line["image"] = ImagePart(width_px=width, height_px=height)
    line["decision"] = screening.decision.label
    line["nodule_found"] = screening.nodule_found
    line["malignancy"] = screening.malignancy
    line["forest_malignancy"] = screening.forest_malignancy
    line["ood_score"] = screening.ood_score
    if screening.box is not None:
        line["box"] = cast("BoxPart", asdict(screening.box))
    if screening.morphology is not None:
        line["morphology"] = {
            name: None if math.isnan(value) else value
            for name, value in screening.morphology.items()
        }
    if screening.evidence is not None:
        line["evidence"] = screening.evidence.tolist()
    line["model_versions"] = dict(screening.model_versions)
    line["timings"] = cast("TimingsPart", asdict(screening.timings))
