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

from thyroid_training import bootstrap
from thyroid_training.calibrated_calls import cross_fitted_calibration
from thyroid_training.calibration import fit_calibration
from thyroid_training.classification_scores import ClassificationScores, Classifier
from thyroid_training.cross_fitting import cross_fitted, cross_fitted_calls
from thyroid_training.cross_validation_report import report_figures, write_report
from thyroid_training.cross_validation_results import (
    CaseOutline,
    CrossValidation,
    OutOfDistribution,
    Served,
    worst_results,
)
from thyroid_training.cross_validation_tables import report_tables
from thyroid_training.explanation_figures import SHARES, Explanations
from thyroid_training.figures_segmentation import ImageResult, NoduleDetection, measure_image
from thyroid_training.mask_agreement import Mask
from thyroid_training.ood_figures import OodScores
from thyroid_training.operating_point import (
    OperatingPoint,
    balanced_threshold,
    f1_threshold_with_specificity,
    fit_operating_point,
    screening_threshold,
)

SEEDS, FOLDS = 2, 5
PNGS = (
    "dice.png",
    "worst_cases.png",
    "roc.png",
    "reliability.png",
    "out_of_distribution.png",
    "explanation.png",
)


def disc(radius: float, x: float, y: float) -> Mask:
    rows, columns = np.ogrid[:180, :280]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


def make_results(images: int, *, everything: bool = True) -> CrossValidation:
    """A cross-validation as one of DDTI could come out, of discs and drawn numbers."""
    generator = np.random.default_rng(7)
    ids = tuple(f"{index}_1" for index in range(images))
    groups = tuple(f"patient {index // 3}" for index in range(images))
    labels = (np.arange(images) // 3 % 6 > 0).astype(np.int64)
    patient_folds = np.array([generator.permutation(images) % FOLDS for _ in range(SEEDS)])
    folds = patient_folds[:, np.arange(images) // 3]

    segmentation, masks = [], {}
    for seed in range(SEEDS):
        for index, image in enumerate(ids):
            x, y, radius = generator.uniform((80, 70, 20), (200, 110, 50))
            miss = generator.exponential(6)
            predicted = disc(radius, x + miss, y) if miss < 25 else np.zeros((180, 280), np.bool_)
            truth = disc(radius, x, y)
            masks[seed, image] = (truth, predicted)
            fold = int(folds[seed, index])
            segmentation.append(
                measure_image(image, groups[index], fold, predicted, truth, seed=seed)
            )

    def scores(strength: float) -> ClassificationScores:
        logits = generator.normal(strength * labels, 1.5, (SEEDS, images))
        logits[:, ::40] = np.nan
        calibrated = [
            cross_fitted_calibration(of_seed, labels, row).values
            for of_seed, row in zip(folds, logits, strict=True)
        ]
        return ClassificationScores(ids, groups, labels, folds, np.array(calibrated))

    def classifier(name: str, strength: float) -> Classifier:
        of = scores(strength)
        return Classifier(
            name,
            of,
            (
                cross_fitted_calls("screening", of, screening_threshold),
                cross_fitted_calls("balanced", of, balanced_threshold),
                cross_fitted_calls("best F1", of, f1_threshold_with_specificity),
            ),
        )

    network = classifier("ResNet-18, predicted regions", 1.6)
    forest = classifier("Random Forest, shape", 0.6)
    required: dict[str, Any] = {
        "protocol": {"folds": FOLDS, "seeds": SEEDS, "grouped_by": "patient"},
        "segmentation": {"TransUNet, compact": tuple(segmentation)},
        "classifiers": (network, forest),
    }
    if not everything:
        return CrossValidation(**required)
    decisions = np.array(
        [
            cross_fitted(
                of_seed,
                (labels, row, np.array(groups)),
                row,
                fit_operating_point,
                OperatingPoint.decide,
            ).values
            for of_seed, row in zip(folds, network.scores.scores, strict=True)
        ]
    )
    worst = worst_results(tuple(segmentation), 6)
    present = np.arange(60) < 40
    curve = np.linspace(0, 1, len(SHARES))
    level = generator.normal(0.8, 0.05, (images, 1))
    return CrossValidation(
        **required,
        comparisons=((network.name, forest.name),),
        detection=(
            NoduleDetection(
                "phantoms",
                tuple(f"phantom {index}" for index in range(60)),
                present,
                present ^ (generator.random((SEEDS, 60)) < 0.1),
            ),
        ),
        served=Served(
            network.name,
            fit_calibration(generator.normal(labels, 1), labels),
            fit_operating_point(labels, network.scores.scores.mean(axis=0), groups),
            decisions,
        ),
        out_of_distribution=OutOfDistribution(
            OodScores("DDTI, out of fold", groups, generator.gamma(20, 0.025, (SEEDS, images))),
            tuple(
                OodScores(
                    name,
                    tuple(f"picture {index}" for index in range(50)),
                    generator.gamma(20, size / 20, (SEEDS, 50)),
                )
                for name, size in (("breast", 0.9), ("noise", 3.0), ("inverted", 1.4))
            ),
        ),
        explanations=Explanations(
            groups,
            SHARES,
            deletion=level - 0.5 * curve**0.5,
            insertion=level - 0.5 + 0.5 * curve**0.5,
            random_deletion=level - 0.5 * curve,
            random_insertion=level - 0.5 + 0.5 * curve,
            mass_inside=generator.beta(6, 4, images),
            area_inside=generator.beta(4, 6, images),
        ),
        feature_importances={"shape": {"circularity": 0.2, "convexity": 0.5}},
        worst=tuple(
            CaseOutline(row.id, *masks[row.seed, row.id], row.dice, row.hausdorff95_px)
            for row in worst
        ),
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
