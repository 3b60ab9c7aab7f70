"""Write the figures of `docs/figures/cross_validation.json` into the documents' marked blocks.

`make docs` runs it; with `--check` it writes nothing and exits 1 where a document differs. The JSON
is what `thyroid-train cross-validate` wrote, copied as it is.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from thyroid_training import cross_validation_tables as tables

CHECKOUT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "docs/model_card.md")
FIGURES = CHECKOUT / "docs" / "figures" / "cross_validation.json"
_BLOCK = re.compile(
    r"(?P<begin><!-- figures:(?P<name>\w+) -->\n).*?(?P<end><!-- /figures -->)", re.DOTALL
)

RENDERERS = {
    "segmentation": tables.segmentation_table,
    "detection": tables.detection_table,
    "scores": tables.score_table,
    "calls": tables.call_table,
    "differences": tables.difference_table,
    "served": tables.served_table,
    "out_of_distribution": tables.ood_table,
    "explanation": tables.explanation_table,
    "importances": tables.importance_table,
}


def render(text: str, figures: dict[str, Any]) -> str:
    """Fill every block of a document from the figures."""

    def fill(match: re.Match[str]) -> str:
        table = RENDERERS[match["name"]](figures).rstrip("\n")
        return f"{match['begin']}{table}\n{match['end']}"

    return _BLOCK.sub(fill, text)


def main(check: bool) -> int:
    """Render all documents; the exit code is 1 where `check` finds one that differs."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    differing = []
    for name in DOCUMENTS:
        path = CHECKOUT / name
        text = path.read_text(encoding="utf-8")
        rendered = render(text, figures)
        if rendered != text:
            differing.append(name)
            if not check:
                path.write_text(rendered, encoding="utf-8")
    for name in differing:
        print(f"{name} {'differs from' if check else 'was filled from'} {FIGURES.name}")
    return int(check and bool(differing))


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
