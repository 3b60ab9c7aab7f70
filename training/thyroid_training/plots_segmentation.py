"""Plots of a segmentation: how often it is how good, and where it is worst."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes

from thyroid_training.cross_validation_results import CaseOutline, CrossValidation
from thyroid_training.figures_segmentation import SeedTable
from thyroid_training.mask_agreement import Mask
from thyroid_training.plots import CHANCE_COLOUR, COLOURS, DASHES, plot

_BINS = np.linspace(0, 1, 21)
_COLUMNS = 4


def draw(results: CrossValidation, folder: Path) -> list[Path]:
    """Write `dice.png` and, where there are outlines, `worst_cases.png`.

    Args:
        results: Of the cross-validation.
        folder: That exists.

    Returns:
        The files written.
    """
    files = [folder / "dice.png"]
    _draw_dice(results, files[0])
    if results.worst:
        files.append(folder / "worst_cases.png")
        _draw_worst(results.worst, files[1])
    return files


def _draw_dice(results: CrossValidation, path: Path) -> None:
    with plot(path, 6.4, 4.0) as figure:
        axes = figure.subplots()
        for (name, rows), colour, dash in zip(
            results.segmentation.items(), COLOURS, DASHES, strict=False
        ):
            table = SeedTable(rows)
            dices = table.values(lambda result: result.dice)
            counts = np.histogram(dices, _BINS)[0] / len(table.seeds)
            label = f"{name}: {len(table.ids)} images, mean {dices.mean():.3f}"
            axes.stairs(counts, _BINS, color=colour, fill=True, alpha=0.12)
            axes.stairs(counts, _BINS, color=colour, linestyle=dash, linewidth=1.8, label=label)
        axes.axvline(0.5, color=CHANCE_COLOUR, linewidth=1, linestyle=":")
        axes.set(
            xlim=(0, 1),
            xlabel="Dice, out of fold, in pixels of the original image",
            ylabel="images for each 0.05 of Dice",
        )
        axes.legend(loc="upper left")


def _draw_worst(cases: tuple[CaseOutline, ...], path: Path) -> None:
    rows = math.ceil(len(cases) / _COLUMNS)
    with plot(path, 9.6, 0.5 + 1.85 * rows) as figure:
        panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axes, case in zip(panels, cases, strict=False):
            _draw_outlines(axes, case.truth, COLOURS[0], "-")
            _draw_outlines(axes, case.predicted, COLOURS[1], "--")
            height, width = case.truth.shape
            axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
            axes.set_aspect("equal")
            axes.spines[["top", "right"]].set_visible(True)
            distance = (
                f"HD95 {case.hausdorff95_px:.0f} px"
                if math.isfinite(case.hausdorff95_px)
                else "nothing found"
            )
            axes.set_title(f"{case.id}: Dice {case.dice:.2f}, {distance}", fontsize=8.5)
        for axes in panels[len(cases) :]:
            axes.set_axis_off()
        handles = [
            panels[0].plot([], [], color=COLOURS[0], label="radiologist")[0],
            panels[0].plot([], [], color=COLOURS[1], linestyle="--", label="network")[0],
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)


def _draw_outlines(axes: Axes, mask: Mask, colour: str, dash: str) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        closed = np.vstack([contour[:, 0], contour[:1, 0]])
        axes.plot(closed[:, 0], closed[:, 1], color=colour, linestyle=dash, linewidth=1.4)
