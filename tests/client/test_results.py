"""Lines of `results.jsonl`, held against the page that describes them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thyroid_client import (
    DeadlineExceeded,
    ImageRejected,
    Screening,
    ScreenResult,
    Timings,
)
from thyroid_client._answers import read_answer
from thyroid_client.results import Files, result_line, to_json
from thyroid_pipeline import contract

FILES = Files(mask_file="masks/0.png", overlay_file="overlays/0.png", evidence_file=None)
NO_FILES = Files(mask_file=None, overlay_file=None, evidence_file=None)
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "results_schema.md"


def screening_of(said: Any) -> Screening:
    findings = read_answer(said.answer())
    return Screening(
        **vars(findings), model_versions={"resnet18": "1"}, timings=Timings(1.0, 2.0, 3.0, 2)
    )


def strict(text: str) -> dict[str, Any]:
    """Parse JSON as the standard has it: without NaN and infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    parsed: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return parsed


def documented(section: str) -> list[str]:
    """Return the fields in the table below a heading."""
    parts = re.split(r"^#+ `(.+)`$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = dict(zip(parts[1::2], parts[2::2], strict=True))[section]
    return re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)


def test_a_line_of_a_nodule(fake: SimpleNamespace) -> None:
    figures = [1.5] * len(contract.MORPHOLOGY_FIELDS)
    figures[-1] = math.nan
    screening = screening_of(fake.NODULE.but(morphology=tuple(figures)))
    text = to_json(result_line(ScreenResult(3, Path("a/ä.png"), screening, None), FILES))
    assert "\n" not in text
    line = strict(text)
    assert line["schema_version"] == 2
    assert line["index"] == 3
    assert line["source"] == "a/ä.png"
    assert line["status"] == "ok"
    assert line["error"] is None
    assert line["image"] == {"width_px": fake.WIDTH, "height_px": fake.HEIGHT}
    assert line["decision"] == "refer"
    assert line["nodule_found"] is True
    assert line["malignancy"] == 0.75
    assert line["forest_malignancy"] == 0.5
    assert line["ood_score"] == 0.25
    assert line["box"] == {"x_px": 30, "y_px": 20, "width_px": 40, "height_px": 24}
    assert list(line["morphology"]) == list(contract.MORPHOLOGY_FIELDS)
    assert line["morphology"]["area_px2"] == 1.5
    assert line["morphology"]["margin_contrast"] is None
    assert line["evidence"] == fake.EVIDENCE.tolist()
    assert (line["mask_file"], line["overlay_file"], line["evidence_file"]) == (
        "masks/0.png",
        "overlays/0.png",
        None,
    )
    assert line["model_versions"] == {"resnet18": "1"}
    assert line["timings"] == {
        "prepare_ms": 1,
        "round_trip_ms": 2,
        "read_ms": 3,
        "attempts": 2,
    }


def test_a_line_without_a_nodule(fake: SimpleNamespace) -> None:
    result = ScreenResult(0, "x.png", screening_of(fake.NO_NODULE), None)
    line = strict(to_json(result_line(result, FILES)))
    assert line["decision"] == "no_nodule"
    assert line["nodule_found"] is False
    absent = ("malignancy", "forest_malignancy", "box", "morphology", "evidence")
    assert [line[name] for name in absent] == [None] * 5
    assert line["ood_score"] == 0.25
    assert line["image"] == {"width_px": fake.WIDTH, "height_px": fake.HEIGHT}


def test_a_line_out_of_distribution_keeps_what_was_found(fake: SimpleNamespace) -> None:
    result = ScreenResult(0, "x.png", screening_of(fake.FOREIGN), None)
    line = strict(to_json(result_line(result, FILES)))
    assert line["decision"] == "out_of_distribution"
    assert line["ood_score"] == 2.5
    assert [line[name] for name in ("malignancy", "forest_malignancy", "evidence")] == [None] * 3
    assert line["nodule_found"] is True
    assert line["box"] == {"x_px": 30, "y_px": 20, "width_px": 40, "height_px": 24}
    assert line["morphology"]["perimeter_px"] == 1.0


@pytest.mark.parametrize(
    ("error", "status"),
    [(ImageRejected("bad", status="INVALID_ARGUMENT"), "INVALID_ARGUMENT"),
     (DeadlineExceeded("late"), None)],
)  # fmt: skip
def test_a_line_of_an_error(error: Exception, status: str | None) -> None:
    error.attempts = 2  # type: ignore[attr-defined]
    line = strict(to_json(result_line(ScreenResult(1, "x.png", None, error), NO_FILES)))  # type: ignore[arg-type]
    assert line["status"] == "error"
    assert line["error"] == {
        "kind": type(error).__name__,
        "message": str(error),
        "status": status,
        "attempts": 2,
    }
    applies = {"schema_version", "index", "source", "status", "error"}
    assert all(value is None for name, value in line.items() if name not in applies)


def test_the_document_has_every_field_and_no_other(fake: SimpleNamespace) -> None:
    good = ScreenResult(0, "x.png", screening_of(fake.NODULE), None)
    bad = ScreenResult(1, "y.png", None, ImageRejected("bad"))
    line, failed = result_line(good, FILES), result_line(bad, NO_FILES)
    assert set(documented("results.jsonl")) == set(line) == set(failed)
    assert failed["error"] is not None
    assert set(documented("error")) == set(failed["error"])
    assert line["timings"] is not None
    assert set(documented("timings")) == set(line["timings"])
    assert documented("morphology") == list(contract.MORPHOLOGY_FIELDS)
    assert set(documented("decision")) == {decision.label for decision in contract.Decision}


def test_the_document_states_the_version_and_the_limit(fake: SimpleNamespace) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    line = result_line(ScreenResult(0, "x.png", screening_of(fake.NODULE), None), FILES)
    assert f"| `schema_version` | integer | {line['schema_version']}. " in text
    assert f"Above {contract.OOD_LIMIT:g} it is out of their distribution." in text
