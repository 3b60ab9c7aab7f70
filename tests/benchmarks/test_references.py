"""What the right answers hang on, and which of a folder's are taken for them."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from thyroid_benchmarks.references import REFERENCE_FILE, read_references, weights_digest
from thyroid_pipeline import contract

ANSWER: dict[str, Any] = {
    "nodule_found": True,
    "malignancy": 0.25,
    "box": [1, 2, 30, 40],
    "decisions": [int(contract.Decision.ROUTINE)],
    "ood_score": 0.5,
    "forest_range": None,
}


@pytest.fixture
def copy(model_repository: Path, tmp_path: Path) -> Path:
    """What answers are made of, to be changed."""
    folder = tmp_path / "models"
    files = [
        f"{model.name}/{contract.MODEL_VERSION}/{contract.ONNX_FILE}"
        for model in (*contract.NETWORKS, contract.MORPHOLOGY_FOREST)
    ]
    for name in (*files, "roi_cropper/configs/cpu.pbtxt"):
        (folder / name).parent.mkdir(parents=True)
        shutil.copy(model_repository / name, folder / name)
    return folder


@pytest.mark.parametrize("model", ["transunet", "resnet18", "morphology_forest"])
def test_every_file_whose_answer_is_compared_is_in_the_digest(
    copy: Path, model_repository: Path, model: str
) -> None:
    before = weights_digest(copy)
    assert before == weights_digest(model_repository)
    with (copy / model / contract.MODEL_VERSION / contract.ONNX_FILE).open("ab") as file:
        file.write(b"\0")
    assert weights_digest(copy) != before


def test_the_croppers_parameters_are_in_the_digest_and_its_instances_are_not(copy: Path) -> None:
    before = weights_digest(copy)
    config = copy / "roi_cropper" / "configs" / "cpu.pbtxt"
    text = config.read_text()
    config.write_text(text.replace("count: 2", "count: 3"))
    assert weights_digest(copy) == before
    assert 'string_value: "0.2"' in text
    config.write_text(text.replace('string_value: "0.2"', 'string_value: "0.3"'))
    assert weights_digest(copy) != before


def written(folder: Path, answer: dict[str, Any]) -> Path:
    masks = folder / "expected_masks"
    masks.mkdir()
    (masks / "00003.png").write_bytes(b"mask")
    text = json.dumps({"weights": "cafe", "answers": {"3": answer}})
    (folder / REFERENCE_FILE).write_text(text)
    return folder


def test_answers_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = read_references(written(tmp_path, ANSWER))
    assert found is not None
    assert found.weights == "cafe"
    answer = found.answers[3]
    assert answer.box == (1, 2, 30, 40)
    assert answer.mask_png == b"mask"
    assert answer.decisions == {contract.Decision.ROUTINE}
    assert all(map(math.isnan, answer.forest_range))


@pytest.mark.parametrize("field", sorted(ANSWER))
def test_answers_that_lack_a_field_are_none(tmp_path: Path, field: str) -> None:
    answer = {name: value for name, value in ANSWER.items() if name != field}
    assert read_references(written(tmp_path, answer)) is None


def test_a_folder_without_answers_has_none(tmp_path: Path) -> None:
    assert read_references(tmp_path) is None
