"""What the morphology figures mean to a radiologist, in words short enough for a report.

The formulas and sources stand in `thyroid_pipeline.morphology` and `thyroid_pipeline.echo`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

GROUPS = ("Shape", "Margin", "Echo", "Size")


@dataclass(frozen=True)
class Meaning:
    """How to show one figure and what to make of it.

    Attributes:
        label: Its name in the report.
        group: Under which of `GROUPS` it stands.
        unit: Its unit; empty for ratios.
        decimals: How many are shown.
        text: What it means.
        reading: What a value says in a word or two, where that follows from the definition alone.
    """

    label: str
    group: str
    unit: str
    decimals: int
    text: str
    reading: Callable[[float], str] | None = None

    def shown(self, value: float) -> str:
        """Return the value with its unit; a dash where it could not be measured."""
        if math.isnan(value):
            return "–"  # noqa: RUF001 - an en dash, as tables have it
        number = f"{value:,.{self.decimals}f}"
        return f"{number} {self.unit}" if self.unit else number

    def read(self, value: float) -> str:
        """Return what the value says; empty where nothing follows from it alone."""
        if self.reading is None or math.isnan(value):
            return ""
        return self.reading(value)


def _about_one(above: str, below: str) -> Callable[[float], str]:
    """Name the side of 1 on which a ratio lies, if it differs from 1 as it is shown."""

    def read(value: float) -> str:
        if round(value, 2) == 1:
            return ""
        return above if value > 1 else below

    return read


# By the names of `contract.MORPHOLOGY_FIELDS`; the report shows them in this order.
MEANINGS = {
    "area_px2": Meaning("Area", "Size", "px²", 0, "inside the outline"),
    "equivalent_diameter_px": Meaning("Diameter", "Size", "px", 0, "of a disc of this area"),
    "width_px": Meaning("Width", "Size", "px", 0, "along the skin"),
    "height_px": Meaning("Height", "Size", "px", 0, "into the depth"),
    "major_axis_px": Meaning("Long axis", "Size", "px", 0, "of the fitted ellipse"),
    "minor_axis_px": Meaning("Short axis", "Size", "px", 0, "of the fitted ellipse"),
    "perimeter_px": Meaning("Perimeter", "Size", "px", 0, "of the outline"),
    "height_to_width": Meaning(
        "Height to width",
        "Shape",
        "",
        2,
        "Above 1 it grows across tissue planes: a sign of malignancy (ACR TI-RADS).",
        _about_one("Taller than wide", "Wider than tall"),
    ),
    "circularity": Meaning(
        "Circularity", "Shape", "", 2, "1 for a disc; less the longer or more ragged it is."
    ),
    "eccentricity": Meaning("Eccentricity", "Shape", "", 2, "0 for a disc; near 1 for a flat one."),
    "extent": Meaning(
        "Extent", "Shape", "", 2, "Share of its box that it fills: 0.79 for an upright ellipse."
    ),
    "margin_irregularity": Meaning(
        "Irregularity",
        "Margin",
        "",
        2,
        "0 for an ellipse; lobulated and irregular margins, signs of malignancy, raise it.",
    ),
    "solidity": Meaning("Solidity", "Margin", "", 2, "1 for a convex one; less when lobulated."),
    "convexity": Meaning(
        "Convexity", "Margin", "", 2, "1 for a smooth margin; less when wavy or spiculated."
    ),
    "margin_contrast": Meaning(
        "Margin contrast", "Margin", "", 2, "Step in brightness; near 0 when ill-defined."
    ),
    "echo_ratio": Meaning(
        "Echo ratio",
        "Echo",
        "",
        2,
        "Inside to around. Below 1 hypoechoic: a sign of malignancy when marked.",
        _about_one("Brighter than around", "Darker than around"),
    ),
    "echo_variation": Meaning(
        "Echo variation", "Echo", "", 2, "High when mixed cystic and solid, or calcified."
    ),
    "posterior_ratio": Meaning(
        "Behind to beside",
        "Echo",
        "",
        2,
        "Above 1 enhancement (fluid); below 1 shadow (calcification, fibrosis).",
        _about_one("Brighter behind", "Darker behind"),
    ),
}
