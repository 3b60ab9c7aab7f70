"""Write the figures of `docs/figures/*.json` into the documents, between their markers.

`make docs` runs it; with `--check` it writes nothing and exits 1 where a document differs.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "docs/model_card.md")
HELD_OUT = CHECKOUT / "docs" / "figures" / "held_out.json"
_BLOCK = re.compile(
    r"(?P<begin><!-- figures:(?P<name>\w+) -->\n).*?(?P<end><!-- /figures -->)", re.DOTALL
)


def segmentation_table(figures: dict[str, Any]) -> str:
    """What TransUNet finds: a Markdown table."""
    rows = [
        ("DDTI, held-out patients", figures["ddti_segmentation"]),
        ("phantoms, unseen seeds", figures["phantom_segmentation"]),
    ]
    lines = [
        "| images | number | mean Dice | median Dice | Dice below 0.5 | nodule found |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows:
        lines.append(
            f"| {name} | {row['images']} | {row['dice_mean']:.3f} | {row['dice_median']:.3f} | "
            f"{row['dice_below_half_share']:.1%} | {row['nodule_found_share']:.1%} |"
        )
    silent = figures["phantom_no_nodule_silent_share"]
    return "\n".join([*lines, "", f"On phantoms without a nodule it stays silent in {silent:.0%}."])


def classification_table(figures: dict[str, Any]) -> str:
    """What ResNet-18 tells apart: a Markdown table."""
    row = figures["ddti_classification"]
    names = {
        "auroc": "AUROC",
        "balanced_accuracy": "balanced accuracy",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "mcc": "Matthews correlation",
        "f1": "F1",
        "f1_all_malignant": "F1 of calling everything malignant",
    }
    lines = ["| figure | value |", "|---|---|"]
    lines += [f"| {name} | {row[key]:.3f} |" for key, name in names.items()]
    return "\n".join(
        [
            f"{row['images']} held-out images, {row['malignant']} of them graded malignant:",
            "",
            *lines,
        ]
    )


RENDERERS = {"segmentation": segmentation_table, "classification": classification_table}


def render(text: str, figures: dict[str, Any]) -> str:
    """Fill every block of a document from the figures."""

    def fill(match: re.Match[str]) -> str:
        table = RENDERERS[match["name"]](figures)
        return f"{match['begin']}{table}\n{match['end']}"

    return _BLOCK.sub(fill, text)


def main(check: bool) -> int:
    """Render all documents; the exit code is 1 where `check` finds one that differs."""
    figures = json.loads(HELD_OUT.read_text())
    differing = []
    for name in DOCUMENTS:
        path = CHECKOUT / name
        text = path.read_text()
        rendered = render(text, figures)
        if rendered != text:
            differing.append(name)
            if not check:
                path.write_text(rendered)
    for name in differing:
        print(f"{name} {'differs from' if check else 'was filled from'} {HELD_OUT.name}")
    return int(check and bool(differing))


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
