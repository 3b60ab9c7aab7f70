"""The curve of accuracy against time as a table, in Markdown, from `accuracy_curve.json` alone.

Nothing but the standard library: documents are rendered from it without torch or numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
Row = Mapping[str, Any]

_NONE = "–"  # noqa: RUF001 - the dash of a table's empty cell


def accuracy_curve_table(document: Document) -> str:
    """Both networks' variants, the shipped ones marked.

    Args:
        document: `accuracy_curve.json`, read; without times their cells are empty.

    Returns:
        Markdown: two tables with a line break between, ending in one.
    """
    return f"{transunet_table(document)}\n{resnet18_table(document)}"


def transunet_table(document: Document) -> str:
    """TransUNet: Dice out of fold, by fold and over those that were fitted; times of all."""
    rows = [*document["segmentation"], *document.get("unfitted", ())]
    folds = sorted({fold for row in rows for fold in row.get("dice_mean_by_fold", ())})
    head = [
        *("TransUNet", "input, px", "encoder", "layers", "decoder"),
        *(f"Dice, fold {fold}" for fold in folds),
        "Dice, these folds",
        *_time_heads(document),
    ]
    body = [
        [
            _name(row),
            str(row["side_px"]),
            row["encoder"] or _NONE,
            str(row["transformer_layers"]),
            ", ".join(map(str, row["decoder_widths"])),
            *(_number(row.get("dice_mean_by_fold", {}).get(fold)) for fold in folds),
            _interval(row["dice_mean"]) if "dice_mean" in row else _NONE,
            *_time_cells(document, row["name"]),
        ]
        for row in sorted(rows, key=lambda row: (row["side_px"], row["name"]))
    ]
    return _table(head, body)


def resnet18_table(document: Document) -> str:
    """ResNet-18: AUROC out of fold by the side of the region, and its difference to the shipped."""
    head = ["ResNet-18", "region, px", "AUROC", "less the shipped one's", *_time_heads(document)]
    body = [
        [
            _name(row),
            str(row["side_px"]),
            _interval(row["auroc"]),
            _NONE if row["shipped"] else _interval(row["auroc_less_shipped"], sign="+"),
            *_time_cells(document, row["name"]),
        ]
        for row in sorted(document["classification"], key=lambda row: row["side_px"])
    ]
    return _table(head, body)


def _time_heads(document: Document) -> list[str]:
    counts = document["times"]["threads"] if "times" in document else [1]
    return [f"ms, {count} thread{'' if count == 1 else 's'}" for count in counts]


def _time_cells(document: Document, name: str) -> list[str]:
    if "times" not in document:
        return [_NONE]
    times = document["times"]
    return [
        _milliseconds(times["median_ms"].get(name, {}).get(str(count)))
        for count in times["threads"]
    ]


def _milliseconds(value: Row | None) -> str:
    if value is None:
        return _NONE
    if value["low"] is None or value["high"] is None:
        return f"{value['value']:.1f}"
    return f"{value['value']:.1f} ({value['low']:.1f} to {value['high']:.1f})"


def _name(row: Row) -> str:
    return f"**{row['name']}, shipped**" if row["shipped"] else str(row["name"])


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"


def _interval(value: Row, sign: str = "") -> str:
    text = f"{value['estimate']:{sign}.3f}"
    if value["low"] is None:
        return text
    return f"{text} ({value['low']:{sign}.3f} to {value['high']:{sign}.3f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
