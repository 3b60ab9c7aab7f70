"""The template of `report.html`, and how numbers and colours are shown in it."""

from __future__ import annotations

from collections.abc import Sequence

import jinja2

from thyroid_client.overlay import BENIGN_RGB, CORNER_RGB, MALIGNANT_RGB, OUTLINE_RGB
from thyroid_pipeline import contract
from thyroid_pipeline.contract import Decision

_BINS = 10  # of the distribution of probabilities


def page_template() -> jinja2.Template:
    """Return the template; it knows the decisions, the limit and the colours of the overlays."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("thyroid_client"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["percent"] = percent
    environment.filters["score"] = score_above_limit
    environment.globals["Decision"] = Decision
    environment.globals["ood_limit"] = contract.OOD_LIMIT
    environment.globals["colours"] = {
        "outline": _css(OUTLINE_RGB),
        "corner": _css(CORNER_RGB),
        "malignant": _css(MALIGNANT_RGB),
        "benign": _css(BENIGN_RGB),
    }
    return environment.get_template("report.html")


def histogram(probabilities: Sequence[float]) -> list[int]:
    """Count the probabilities in each tenth of their range."""
    counts = [0] * _BINS
    for probability in probabilities:
        counts[min(_BINS - 1, int(probability * _BINS))] += 1
    return counts


def signed(value: float) -> str:
    """Return a number with its sign and one decimal."""
    # Rounded first and 0 added, so that nothing is shown as minus 0.
    return f"{round(value, 1) + 0.0:+.1f}".replace("-", "\N{MINUS SIGN}")


def percent(share: float) -> str:
    """Return whole percent; never 0 or 100, which no network can know."""
    if share < 0.01:
        return "<1"
    return ">99" if share > 0.99 else f"{100 * share:.0f}"


def score_above_limit(score: float) -> str:
    """Return an out-of-distribution score with two decimals; never shown as the limit itself."""
    return f"{max(round(score, 2), contract.OOD_LIMIT + 0.01):,.2f}"


def _css(rgb: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)
