"""Write the figures of the JSON files in `docs/figures` into the documents' marked blocks.

Pictures of speed are drawn from the same files, and hold the digest of theirs: another version of
matplotlib may draw other bytes, which is no difference.

`make docs` runs it; with `--check` it writes nothing and exits 1 where a document differs. A block
names its table and the files it is made of, relative to `docs/figures`:

    <!-- figures:segmentation cross_validation.json -->
    <!-- /figures -->

The files are what `thyroid-train cross-validate` and `curve` and `benchmarks/int8_trial.py` wrote,
copied as it is, and what `benchmarks/scenarios.py keep` kept of a benchmark's result.
"""

from __future__ import annotations

import hashlib
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
from thyroid_benchmarks.int8_table import int8_table  # noqa: E402
from thyroid_benchmarks.markdown import find_run  # noqa: E402
from thyroid_benchmarks.plots import breakdown_plot, curve_plot  # noqa: E402
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
    "int8": int8_table,
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
    "layout_cpu": partial(comparisons.cpu_table, part="layouts"),
    "layout_best": partial(comparisons.best_table, part="layouts"),
    "layout_settings": partial(comparisons.settings_table, part="layouts"),
    "peer_rates": partial(comparisons.rates_table, part="peers"),
    "peer_ratios": partial(comparisons.ratios_table, part="peers"),
    "peer_cpu": partial(comparisons.cpu_table, part="peers"),
    "peer_best": partial(comparisons.best_table, part="peers"),
    "peer_settings": partial(comparisons.settings_table, part="peers"),
    "cross_check": comparisons.cross_check_table,
    "targets": targets.target_table,
    "main_figures": targets.main_figures_table,
}

_DRAWN_RUNS = (performance.ALONE, performance.CROWD, "server")


def _draw_breakdown(result: Any) -> str | None:
    found = (find_run(result, name) for name in _DRAWN_RUNS)
    return breakdown_plot([run for run in found if run is not None])


# Each is drawn from its file, both relative to `docs/figures`.
PICTURES: dict[str, tuple[str, Callable[[Any], str | None]]] = {
    "performance/breakdown.svg": ("performance/suite.json", _draw_breakdown),
    "performance/curve.svg": ("performance/suite.json", curve_plot),
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


def draw(name: str, figures: Path = FIGURES) -> str | None:
    """Draw a picture of `PICTURES` as SVG on white; None where its file holds nothing of it."""
    source, plot = PICTURES[name]
    svg = plot(_read(figures / source))
    if svg is None:
        return None
    head, _, body = svg.partition(">")
    return (
        f'{head}>\n{_mark(figures / source)}\n<rect width="100%" height="100%" fill="white"/>{body}'
    )


def is_drawn(name: str, figures: Path = FIGURES) -> bool:
    """Whether a picture is there and was drawn from its file as it is now."""
    picture = figures / name
    return picture.is_file() and _mark(figures / PICTURES[name][0]) in picture.read_text("utf-8")


def _mark(source: Path) -> str:
    return f"<!-- drawn from {source.name}, {hashlib.sha256(source.read_bytes()).hexdigest()} -->"


@cache
def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def main(check: bool, checkout: Path = CHECKOUT) -> int:
    """Render documents and pictures; the exit code is 1 where `check` finds one that differs."""
    differing = []
    figures = checkout / "docs" / "figures"
    for name in PICTURES:
        if not is_drawn(name, figures) and (svg := draw(name, figures)) is not None:
            differing.append(f"docs/figures/{name}")
            if not check:
                (figures / name).write_text(svg, encoding="utf-8")
    for name in DOCUMENTS:
        path = checkout / name
        text = path.read_text(encoding="utf-8")
        rendered = render(text, figures)
        if rendered != text:
            differing.append(name)
            if not check:
                path.write_text(rendered, encoding="utf-8")
    for name in differing:
        verb = "differs from" if check else "was made from"
        print(f"{name} {verb} the JSON in docs/figures")
    return int(check and bool(differing))


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
