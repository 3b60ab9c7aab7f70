"""The trial of INT8 as tables, in Markdown, from `int8.json` alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thyroid_benchmarks.markdown import NONE, Document, cell, table
from thyroid_benchmarks.report import figure

_COMMIT_DIGITS = 12
_NETWORKS = {"transunet": "TransUNet", "resnet18": "ResNet-18"}

Row = Mapping[str, Any]


def int8_table(document: Document) -> str:
    """What was tried on what, a table for each network, and what came of it."""
    parts = [origin_sentence(document), transunet_table(document), resnet18_table(document)]
    return "\n\n".join([*parts, outcome_sentence(document)])


def origin_sentence(document: Document) -> str:
    """Say on what it was measured and with what."""
    machine, commit, protocol = document["machine"], document["commit"], document["protocol"]
    called = (commit["commit"] or "unknown")[:_COMMIT_DIGITS]
    changed = ", with changes" if commit["changed"] else ""
    instructions = machine["int8_instructions"]
    told = "cannot be told" if instructions is None else ", ".join(instructions) or "none"
    busy = document["others_share_before"]
    return (
        f"Begun {document['started']} at commit {called}{changed}, networks "
        f"{document['networks']}, on {machine['processor']} (instructions for INT8: {told}), "
        f"{protocol['threads']} thread, {machine['cores']} cores, of which others used "
        f"{busy:.0%} before; onnxruntime {document['versions']['onnxruntime']}, "
        f"{protocol['rounds']} rounds, seed {document['seeds']['phantoms']}. Ranges were found "
        f"over {protocol['calibration']} images, by the least and the greatest value."
    )


def transunet_table(document: Document) -> str:
    """TransUNet in FP32 and in each setting."""
    protocol, found = document["protocol"], document["transunet"]
    sets = _sets(found)
    truth = f"Dice with {protocol['outlined_images']} outlines"
    head = [
        *_heads("TransUNet"),
        *(f"Dice with FP32, {name}: mean (lowest)" for name in sets),
        *(f"score moves by, {name}: at most (turned)" for name in sets),
        truth,
        f"Dice from {protocol['dice_from']:g}, score within {protocol['score_within']:g}",
    ]
    blank = [NONE] * (2 * len(sets))
    rows = [[*_fp32_cells(found), *blank, figure(found["fp32"]["truth"], 4), NONE]]
    for row in found["settings"]:
        dices = [
            f"{each['mean_dice']:.4f} ({each['lowest_dice']:.4f})" for each in row["agreement"]
        ]
        scores = [
            f"{each['largest_score_move']:.3f} ({each['turned']} of {each['frames']})"
            for each in row["agreement"]
        ]
        rows.append(
            [*_cells(row), *dices, *scores, figure(row["truth"], 4), _verdict(row["passes"])]
        )
    return table(head, rows)


def resnet18_table(document: Document) -> str:
    """ResNet-18 in FP32 and in each setting."""
    protocol, found = document["protocol"], document["resnet18"]
    sets = _sets(found)
    outlined = found["settings"][0]["agreement"][1:]
    regions = sum(each["compared"] for each in outlined)
    head = [
        *_heads("ResNet-18"),
        *(f"malignancy moves by, {name}: mean (at most)" for name in sets),
        *(f"decisions turned, {name}" for name in sets),
        f"AUROC on {regions} outlined regions",
        f"malignancy within {protocol['malignancy_within']:g}",
    ]
    blank = [NONE] * (2 * len(sets))
    rows = [[*_fp32_cells(found), *blank, figure(found["fp32"]["truth"], 4), NONE]]
    for row in found["settings"]:
        moves = [
            f"{each['mean_move']:.4f} ({each['largest_move']:.4f})" for each in row["agreement"]
        ]
        turned = [f"{each['decisions_turned']} of {each['compared']}" for each in row["agreement"]]
        rows.append(
            [*_cells(row), *moves, *turned, figure(row["truth"], 4), _verdict(row["passes"])]
        )
    return table(head, rows)


def outcome_sentence(document: Document) -> str:
    """Say for each network which setting is the fastest that passes and saves time, if any."""
    said = []
    for name, title in _NETWORKS.items():
        faster = [
            row
            for row in document[name]["settings"]
            # Where the interval has no upper end, nothing is shown.
            if row["passes"] and (row["ms_over_fp32"]["high"] or 1) < 1
        ]
        if not faster:
            said.append(f"{title}: no setting passes and takes less time than FP32.")
            continue
        best = min(faster, key=lambda row: float(row["ms_over_fp32"]["value"]))
        said.append(
            f"{title}: of the settings that pass, the fastest takes "
            f"{best['ms_over_fp32']['value']:.2f} of FP32's time ({_setting(best)})."
        )
    return " ".join(said)


def _sets(found: Row) -> list[str]:
    names = [each["images"] for each in found["settings"][0]["agreement"]]
    return [name.upper() if name == "ddti" else name for name in names]


def _heads(title: str) -> list[str]:
    return [title, "in INT8", "ms", "over FP32's"]


def _fp32_cells(found: Row) -> list[str]:
    return ["FP32, as it is", NONE, cell(found["fp32"]["ms"]), NONE]


def _cells(row: Row) -> list[str]:
    count = f"{row['convolutions']} of {row['all_convolutions']} convolutions"
    return [_setting(row), count, cell(row["ms"]), cell(row["ms_over_fp32"], 3)]


def _setting(row: Row) -> str:
    called = f" (`{row['offered']}`)" if row["offered"] else ""
    return f"{row['scope']}; {row['numbers']}{called}"


def _verdict(passes: bool) -> str:
    return "passes" if passes else "**does not pass**"
