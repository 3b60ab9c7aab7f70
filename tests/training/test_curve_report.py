"""The curve's tables and picture, from a document of a few rows."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import cv2
import pytest

from thyroid_training.curve_tables import accuracy_curve_table
from thyroid_training.plots_curve import draw_accuracy_curve


def figure(estimate: float, reach: float | None = 0.02) -> dict[str, float | None]:
    if reach is None:
        return {"estimate": estimate, "low": None, "high": None}
    return {"estimate": estimate, "low": estimate - reach, "high": estimate + reach}


def transunet(name: str, side_px: int, dices: dict[str, float], *, layers: int = 3) -> Any:
    shipped = name == "side_224"
    return {
        "name": name,
        "side_px": side_px,
        "encoder": "EfficientNet-Lite2, ImageNet",
        "transformer_layers": layers,
        "decoder_widths": [64, 48, 32],
        "shipped": shipped,
        "dice_mean": figure(sum(dices.values()) / len(dices), None if shipped else 0.02),
        "dice_mean_by_fold": dices,
    }


def resnet18(side_px: int, auroc: float) -> Any:
    return {
        "name": f"region_{side_px}",
        "side_px": side_px,
        "shipped": side_px == 224,
        "auroc": figure(auroc),
        "auroc_less_shipped": figure(auroc - 0.65),
    }


def milliseconds(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.5, "high": value + 0.5}


DOCUMENT: dict[str, Any] = {
    "segmentation": [
        transunet("side_224", 224, {"0": 0.769, "1": 0.779}),
        transunet("side_160", 160, {"0": 0.741, "1": 0.749}),
        transunet("layers_0", 224, {"1": 0.7}, layers=0),
    ],
    "classification": [resnet18(224, 0.65), resnet18(128, 0.61)],
    "times": {
        "threads": [1, 2],
        "median_ms": {
            "side_224": {"1": milliseconds(60), "2": milliseconds(35)},
            "side_160": {"1": milliseconds(30), "2": milliseconds(18)},
            "layers_0": {"1": milliseconds(55), "2": milliseconds(31)},
            "region_224": {"1": milliseconds(20), "2": {"value": 12, "low": None, "high": None}},
            "region_128": {"1": milliseconds(8), "2": milliseconds(5)},
        },
    },
}
WITHOUT_TIMES = {name: part for name, part in DOCUMENT.items() if name != "times"}


def cells(table: str) -> list[list[list[str]]]:
    """Rows of cells of each table."""
    parts = table.strip().split("\n\n")
    return [[line.strip("| ").split(" | ") for line in part.splitlines()] for part in parts]


def test_tables_hold_every_figure_and_mark_the_shipped() -> None:
    first, second = cells(accuracy_curve_table(DOCUMENT))
    assert [len({len(row) for row in part}) for part in (first, second)] == [1, 1]
    assert first[0][5:] == [
        *("Dice, fold 0", "Dice, fold 1", "Dice, these folds", "ms, 1 thread", "ms, 2 threads"),
    ]
    assert [row[0] for row in first[2:]] == ["side_160", "layers_0", "**side_224, shipped**"]
    assert first[2][2] == "EfficientNet-Lite2, ImageNet"
    assert first[2][5:] == [
        *("0.741", "0.749", "0.745 (0.725 to 0.765)"),
        *("30.0 (29.5 to 30.5)", "18.0 (17.5 to 18.5)"),
    ]
    assert first[3][3:7] == ["0", "64, 48, 32", "–", "0.700"]  # noqa: RUF001 - not fitted
    assert first[4][7] == "0.774"
    assert [row[1] for row in second[2:]] == ["128", "224"]
    assert second[2][2:4] == ["0.610 (0.590 to 0.630)", "-0.040 (-0.060 to -0.020)"]
    assert second[3][3:] == ["–", "20.0 (19.5 to 20.5)", "12.0"]  # noqa: RUF001


def test_what_was_not_fitted_has_a_time_and_no_dice() -> None:
    shape = transunet("decoder_narrow", 160, {"0": 0.7})
    unfitted = {name: part for name, part in shape.items() if not name.startswith("dice")}
    document = copy.deepcopy(DOCUMENT) | {"unfitted": [unfitted]}
    document["times"]["median_ms"]["decoder_narrow"] = {"1": milliseconds(25)}
    first, _ = cells(accuracy_curve_table(document))
    assert [row[0] for row in first[2:4]] == ["decoder_narrow", "side_160"]
    assert first[2][5:] == ["–", "–", "–", "25.0 (24.5 to 25.5)", "–"]  # noqa: RUF001


def test_without_times_the_accuracies_stand_alone() -> None:
    first, second = cells(accuracy_curve_table(WITHOUT_TIMES))
    assert {row[-1] for row in (*first[2:], *second[2:])} == {"–"}  # noqa: RUF001
    assert first[4][7] == "0.774"


def test_the_picture_is_the_same_for_the_same_figures(tmp_path: Path) -> None:
    pictures = []
    for number, document in enumerate((DOCUMENT, DOCUMENT, copy.deepcopy(DOCUMENT))):
        if number == 2:
            document["segmentation"][1]["dice_mean"] = figure(0.76)
        path = tmp_path / f"{number}.png"
        draw_accuracy_curve(document, path)
        pictures.append(path.read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]
    assert cv2.imread(str(tmp_path / "0.png")).shape[1] == round(9.6 * 120)


def test_without_times_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no `times`; those of benchmarks/accuracy_curve.py were"):
        draw_accuracy_curve(WITHOUT_TIMES, tmp_path / "none.png")
    assert not list(tmp_path.iterdir())
