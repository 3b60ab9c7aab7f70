"""Write the figures of the JSON files in `docs/figures` into the documents' marked blocks.

`make docs` runs it; with `--check` it writes nothing and exits 1 where a document differs. A block
names its table and the files it is made of, relative to `docs/figures`:

    <!-- figures:segmentation cross_validation.json -->
    <!-- /figures -->

The files are what `thyroid-train cross-validate` and `curve` wrote, copied as it is, and what
`benchmarks/scenarios.py keep` kept of a benchmark's result.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT / "benchmarks"))  # not installed

from thyroid_benchmarks import performance_comparisons as comparisons  # noqa: E402
from thyroid_benchmarks import performance_tables as performance  # noqa: E402
from thyroid_benchmarks import performance_targets as targets  # noqa: E402
from thyroid_training import cross_validation_tables as tables  # noqa: E402
from thyroid_training.curve_tables import accuracy_curve_table  # noqa: E402

DOCUMENTS = ("README.md", "docs/model_card.md", "docs/performance.md")
FIGURES = CHECKOUT / "docs" / "figures"
_BLOCK = re.compile(
    r"(?P<begin><!-- figures:(?P<name>\w+)(?P<files>( [\w/.]+\.json)+) -->\n)"
    r".*?(?P<end><!-- /figures -->)",
    re.DOTALL,
)
_BEGIN = "<!-- figures:"

# Each takes the documents of its block's files, in their order.
RENDERERS: dict[str, Callable[..., str]] = {
    "accuracy_curve": accuracy_curve_table,
    "segmentation": tables.segmentation_table,
    "detection": tables.detection_table,
    "scores": tables.score_table,
    "calls": tables.call_table,
    "differences": tables.difference_table,
    "served": tables.served_table,
    "out_of_distribution": tables.ood_table,
    "explanation": tables.explanation_table,
    "importances": tables.importance_table,
    "origins": performance.origin_table,
    "floor": performance.floor_table,
    "scenarios": performance.scenario_table,
    "efficiency": performance.efficiency_table,
    "breakdown": performance.breakdown_table,
    "knee": performance.knee_table,
    "soak": performance.soak_table,
    "layout_rates": partial(comparisons.rates_table, part="layouts"),
    "layout_ratios": partial(comparisons.ratios_table, part="layouts"),
    "layout_best": partial(comparisons.best_table, part="layouts", best="best_fixed"),
    "layout_settings": partial(comparisons.settings_table, part="layouts"),
    "peer_rates": partial(comparisons.rates_table, part="peers"),
    "peer_ratios": partial(comparisons.ratios_table, part="peers"),
    "peer_best": partial(comparisons.best_table, part="peers", best="best_peer"),
    "peer_settings": partial(comparisons.settings_table, part="peers"),
    "cross_check": comparisons.cross_check_table,
    "targets": targets.target_table,
    "main_figures": targets.main_figures_table,
}


def render(text: str, figures: Path = FIGURES) -> str:
    """Fill every block of a document from the files of a folder.

    Raises:
        ValueError: A block names no known table or no file.
    """

    def fill(match: re.Match[str]) -> str:
        documents = [_read(figures / name) for name in match["files"].split()]
        table = RENDERERS[match["name"]](*documents).rstrip("\n")
        return f"{match['begin']}{table}\n{match['end']}"

    known = [match["begin"] for match in _BLOCK.finditer(text) if match["name"] in RENDERERS]
    if len(known) != text.count(_BEGIN):
        raise ValueError(
            f"{text.count(_BEGIN)} blocks begin by {_BEGIN} and {len(known)} can be filled; each "
            "was wanted to name a table and its files, and to end: see render_figures.py"
        )
    return _BLOCK.sub(fill, text)


@cache
def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def main(check: bool, checkout: Path = CHECKOUT) -> int:
    """Render all documents; the exit code is 1 where `check` finds one that differs."""
    differing = []
    for name in DOCUMENTS:
        path = checkout / name
        text = path.read_text(encoding="utf-8")
        rendered = render(text, checkout / "docs" / "figures")
        if rendered != text:
            differing.append(name)
            if not check:
                path.write_text(rendered, encoding="utf-8")
    for name in differing:
        verb = "differs from" if check else "was filled from"
        print(f"{name} {verb} the JSON in docs/figures")
    return int(check and bool(differing))


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
