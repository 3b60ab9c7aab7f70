"""How the plots of a report look, and how they are written: the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Told apart by people with any kind of colour vision (M. Okabe, K. Ito, *Color Universal Design*,
# 2008), and by their dashes in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))
MALIGNANT_COLOUR = COLOURS[1]
BENIGN_COLOUR = COLOURS[0]
CHANCE_COLOUR = "#767676"
BAND_ALPHA = 0.18

_STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "font.size": 10,
    "grid.color": "#e6e6e6",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


@contextmanager
def plot(path: Path, width_in: float, height_in: float) -> Iterator[Figure]:
    """Draw a figure and write it as a PNG, whatever the user's own settings of matplotlib are.

    Args:
        path: Of the PNG.
        width_in: Inches, at 120 pixels each.
        height_in: Likewise.

    Yields:
        The figure to draw into, by Agg: no display is asked for.
    """
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(figsize=(width_in, height_in))
        yield figure
        # Without the name and version of what wrote it.
        figure.savefig(path, format="png", metadata={"Software": None})


def unit_square(axes: Axes, x: str, y: str) -> None:
    """Make the axes a square from 0 to 1, with room for lines along its edges."""
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y)
    axes.set_aspect("equal")
