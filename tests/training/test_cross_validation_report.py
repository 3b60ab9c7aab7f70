"""The report of a cross-validation: its files, and that they say what the numbers are."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from made_up_validation import FOLDS, SEEDS, make_results
from thyroid_training import bootstrap
from thyroid_training.cross_validation_report import report_figures, write_report
from thyroid_training.cross_validation_results import CrossValidation, worst_results
from thyroid_training.cross_validation_tables import report_tables
from thyroid_training.figures_segmentation import ImageResult

PNGS = (
    "dice.png",
    "worst_cases.png",
    "roc.png",
    "reliability.png",
    "out_of_distribution.png",
    "explanation.png",
)


@pytest.fixture(scope="module")
def results() -> CrossValidation:
    return make_results(90)


@pytest.fixture(scope="module")
def folder(results: CrossValidation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cross_validation") / "not there yet"
    written = write_report(results, folder)
    assert sorted(path.name for path in written) == sorted(
        ("cross_validation.json", "table.md", "images.csv", *PNGS)
    )
    assert sorted(folder.iterdir()) == sorted(written)
    return folder


@pytest.fixture(scope="module")
def document(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "cross_validation.json").read_text())
    return document


def test_the_same_results_give_the_same_bytes(
    results: CrossValidation, folder: Path, tmp_path: Path
) -> None:
    for again in write_report(results, tmp_path):
        assert again.read_bytes() == (folder / again.name).read_bytes(), again.name


def test_figures_are_those_of_scikit_learn(
    results: CrossValidation, document: dict[str, Any]
) -> None:
    network = results.classifiers[0]
    labels = network.scores.labels
    baseline, row, forest = document["classification"]["classifiers"]
    assert (baseline["name"], row["name"]) == ("all malignant", network.name)
    wanted = np.mean([roc_auc_score(labels, of_seed) for of_seed in network.scores.scores])
    assert row["figures"]["auroc"]["estimate"] == pytest.approx(wanted, abs=1e-6)
    for calls, point in zip(network.calls, row["operating_points"], strict=True):
        f1 = np.mean([f1_score(labels, of_seed) for of_seed in calls.calls])
        assert point["name"] == calls.name
        assert point["figures"]["f1"]["estimate"] == pytest.approx(f1, abs=1e-6)
        assert np.shape(point["thresholds_by_seed_and_fold"]) == (SEEDS, FOLDS)
    everything = baseline["operating_points"][0]["figures"]
    assert everything["f1"]["estimate"] == pytest.approx(
        f1_score(labels, np.ones_like(labels)), abs=1e-6
    )
    (difference,) = document["classification"]["differences"]
    assert difference["figures"]["scores"]["auroc"]["estimate"] == pytest.approx(
        row["figures"]["auroc"]["estimate"] - forest["figures"]["auroc"]["estimate"], abs=2e-6
    )
    assert [other["f1"] for other in document["classification"]["published"]] == [0.852, 0.829]
    assert document["intervals"]["resamples"] == bootstrap.RESAMPLES == 2_000


def test_every_interval_holds_its_estimate_or_is_null(document: dict[str, Any]) -> None:
    """Except the calibration error, which chance raises in every resample."""
    seen = 0

    def check(value: Any, name: str) -> None:
        nonlocal seen
        if isinstance(value, dict) and set(value) == {"estimate", "low", "high"}:
            seen += 1
            if name != "calibration_error":
                assert value["low"] - 1e-9 <= value["estimate"] <= value["high"] + 1e-9, name
        elif isinstance(value, dict):
            for key, item in value.items():
                check(item, key)
        elif isinstance(value, list):
            for item in value:
                check(item, name)

    check(document, "")
    assert seen > 60


def test_tables_show_the_documents_figures(folder: Path, document: dict[str, Any]) -> None:
    text = (folder / "table.md").read_text()
    assert text == report_tables(document)
    assert "nan" not in text.lower().replace("malignan", "")
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {line.count("|") for line in table.splitlines()}
        assert len(widths) == 1, table
    figure = document["segmentation"][0]["figures"]["dice_mean"]
    cell = f"{figure['estimate']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
    assert cell in text
    for name in (
        "all malignant",
        "ResNet-18, predicted regions",
        "Random Forest, shape",
        "arXiv 2511.11937",
        "phantoms",
        "DDTI, out of fold",
    ):
        assert f"| {name}" in text or f"({name}" in text, name


def test_images_are_numbers_by_id(results: CrossValidation, folder: Path) -> None:
    with (folder / "images.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    scores = results.classifiers[0].scores
    assert set(rows) == set(scores.ids)
    for index, image in enumerate(scores.ids):
        row = rows[image]
        assert int(row["malignant"]) == scores.labels[index]
        found = float(row["ResNet-18, predicted regions: malignancy"])
        assert found == pytest.approx(scores.scores[:, index].mean(), abs=1e-4)
    dices = [result.dice for result in results.segmentation["TransUNet, compact"]]
    shown = [float(row["TransUNet, compact: dice"]) for row in rows.values()]
    assert np.mean(shown) == pytest.approx(np.mean(dices), abs=1e-4)
    undefined = [row for row in rows.values() if not row["TransUNet, compact: hausdorff95_px"]]
    assert all(float(row["TransUNet, compact: found_share"]) < 1 for row in undefined)


@pytest.mark.parametrize("name", PNGS)
def test_plots_are_drawn(folder: Path, name: str) -> None:
    picture = cv2.imread(str(folder / name))
    assert picture is not None
    assert min(picture.shape[:2]) > 300
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    # Lines reach no edge: nothing is cut off.
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert (border == 255).all()


def test_parts_that_were_not_run_are_left_out(tmp_path: Path) -> None:
    bare = make_results(60, everything=False)
    names = {path.name for path in write_report(bare, tmp_path)}
    assert names == {
        "cross_validation.json",
        "table.md",
        "images.csv",
        "dice.png",
        "roc.png",
        "reliability.png",
    }
    document = report_figures(bare)
    assert not {"served", "out_of_distribution", "explanation"} & set(document)
    text = (tmp_path / "table.md").read_text()
    assert "## Segmentation" in text
    assert "## What is served" not in text


def test_what_cannot_be_reported_is_refused() -> None:
    bare = make_results(60, everything=False)
    with pytest.raises(ValueError, match="those alone compared were wanted"):
        CrossValidation(
            bare.protocol, bare.segmentation, bare.classifiers, comparisons=(("a", "b"),)
        )
    with pytest.raises(ValueError, match="at least one of each"):
        CrossValidation(bare.protocol, {}, bare.classifiers)


def test_worst_results_are_of_the_smallest_dice_each_image_once() -> None:
    rows = tuple(
        ImageResult(image, image, 0, dice, dice, 1.0, True, seed)
        for image, dices in {"a": (0.5, 0.4), "b": (0.1, 0.2), "c": (0.9, 0.9)}.items()
        for seed, dice in enumerate(dices)
    )
    assert [(row.id, row.seed) for row in worst_results(rows, 2)] == [("b", 0), ("a", 1)]
