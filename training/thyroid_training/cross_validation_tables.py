"""The tables of a cross-validation, in Markdown, from `cross_validation.json` alone.

Nothing but the standard library: documents are rendered from it without torch or numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_NONE = "–"  # noqa: RUF001 - the dash of a table's empty cell

Document = Mapping[str, Any]


def report_tables(document: Document) -> str:
    """All tables, each under a heading.

    Args:
        document: `cross_validation.json`, read.

    Returns:
        Markdown, ending in a line break.
    """
    intervals = document["intervals"]
    parts = [
        f"Figures are estimates with {intervals['level']:.0%} confidence intervals: "
        f"{intervals['method']}, {intervals['resamples']:,} resamples.",
        f"## Segmentation\n\n{segmentation_table(document)}",
    ]
    if document["detection"]:
        parts.append(f"## Frames with and without a nodule\n\n{detection_table(document)}")
    parts.append(f"## Classification: scores\n\n{score_table(document)}")
    parts.append(f"## Classification: calls\n\n{call_table(document)}")
    if document["classification"]["differences"]:
        parts.append(f"## Differences\n\n{difference_table(document)}")
    if "served" in document:
        parts.append(f"## What is served\n\n{served_table(document)}")
    if "out_of_distribution" in document:
        parts.append(f"## Out of distribution\n\n{ood_table(document)}")
    if "explanation" in document:
        parts.append(f"## Explanation\n\n{explanation_table(document)}")
    if document["feature_importances"]:
        parts.append(f"## What the forests look at\n\n{importance_table(document)}")
    return "\n\n".join(parts) + "\n"


def segmentation_table(document: Document) -> str:
    """Masks against outlines, in pixels of the original image."""
    columns = {
        "dice_mean": "mean Dice",
        "dice_median": "median Dice",
        "iou_mean": "mean IoU",
        "hausdorff95_mean_px": "mean Hausdorff 95, px",
        "hausdorff95_median_px": "median Hausdorff 95, px",
        "hausdorff95_undefined_share": "without a distance",
        "dice_below_half_share": "Dice below 0.5",
        "nodule_found_share": "nodule found",
    }
    rows = [
        [row["name"], str(row["images"]), *_cells(row["figures"], columns)]
        for row in document["segmentation"]
    ]
    return _table(["network", "images", *columns.values()], rows)


def detection_table(document: Document) -> str:
    """Whether a nodule is seen where there is one, and none where there is none."""
    columns = {"sensitivity": "nodules found", "specificity": "silent without one"}
    rows = [
        [
            row["name"],
            str(row["with_nodule"]),
            str(row["frames"] - row["with_nodule"]),
            *_cells(row["figures"], columns, percent=True),
        ]
        for row in document["detection"]
    ]
    return _table(["frames", "with a nodule", "without", *columns.values()], rows)


def score_table(document: Document) -> str:
    """What needs no threshold."""
    columns = {
        "auroc": "AUROC",
        "average_precision": "average precision",
        "brier_score": "Brier score",
        "calibration_error": "calibration error",
    }
    rows = [
        [
            row["name"],
            *_cells(row["figures"], columns),
            f"{row['calibration_error_by_chance']:.3f}",
        ]
        for row in document["classification"]["classifiers"]
    ]
    return _table(["classifier", *columns.values(), "of it by chance"], rows)


def call_table(document: Document) -> str:
    """Yes or no, at each operating point, beside the baseline and what others report."""
    columns = {
        "f1": "F1",
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "mcc": "Matthews correlation",
    }
    rows = [
        [row["name"], point["name"], *_cells(point["figures"], columns)]
        for row in document["classification"]["classifiers"]
        for point in row["operating_points"]
    ]
    for row in document["classification"]["published"]:
        cells = [f"{row[name]:.3f}" if name in row else _NONE for name in columns]
        source = f"{row['source']}, {row['images']} images"
        rows.append([f"{row['name']} ({source})", _NONE, *cells])
    return _table(["classifier", "operating point", *columns.values()], rows)


def difference_table(document: Document) -> str:
    """By how much one classifier exceeds another on the same resampled patients."""
    shown = {
        "auroc": "AUROC",
        "average_precision": "average precision",
        "f1": "F1",
        "balanced_accuracy": "balanced accuracy",
    }
    rows = [
        [
            row["of"],
            row["less"],
            f"{label}, {point}" if point != "scores" else label,
            _interval(figures[name], signed=True),
        ]
        for row in document["classification"]["differences"]
        for point, figures in row["figures"].items()
        for name, label in shown.items()
        if name in figures
    ]
    return _table(["classifier", "less", "figure", "difference"], rows)


def served_table(document: Document) -> str:
    """The operating point that is shipped, and what its like decide out of fold."""
    served = document["served"]
    point, calibration = served["operating_point"], served["calibration"]
    labels = {
        "malignant_followed_up_share": "malignant images followed up (refer or uncertain)",
        "benign_routine_share": "benign images left to routine",
        "uncertain_share": "uncertain, of all",
        "refer_share": "refer, of all",
    }
    rows = [
        ["routine below", f"{point['routine_below']:.3f}"],
        ["refer from", f"{point['refer_from']:.3f}"],
        ["screening threshold", f"{point['threshold']:.3f}"],
        ["sensitivity it is chosen for", f"{point['sensitivity']:.0%}"],
        ["calibration: scale", f"{calibration['scale']:.3f}"],
        ["calibration: offset", f"{calibration['offset']:+.3f}"],
    ]
    for name, label in labels.items():
        rows.append([label, _interval(served["decisions_out_of_fold"][name], percent=True)])
    return _table([served["classifier"], "value"], rows)


def ood_table(document: Document) -> str:
    """What the gate flags."""
    gate = document["out_of_distribution"]
    rows = [
        [
            row["name"],
            str(row["pictures"]),
            _interval(row["flagged_share"], percent=True),
            _interval(row["auroc"]),
        ]
        for row in gate["sets"]
    ]
    inside = gate["sets"][0]["name"]
    return _table(
        ["pictures", "number", f"flagged above {gate['limit']:g}", f"AUROC against {inside}"], rows
    )


def explanation_table(document: Document) -> str:
    """What the evidence map is worth, beside chance."""
    figures = document["explanation"]["figures"]
    names = (
        ("area under deletion (less is better)", "deletion_area", "random_deletion_area"),
        ("area under insertion (more is better)", "insertion_area", "random_insertion_area"),
        ("share of the evidence on the nodule", "mass_inside", "area_inside"),
    )
    gains = ("deletion_gain", "insertion_gain", "mass_gain")
    rows = [
        [
            label,
            _interval(figures[own]),
            _interval(figures[chance]),
            _interval(figures[gain], signed=True),
        ]
        for (label, own, chance), gain in zip(names, gains, strict=True)
    ]
    return _table(["figure", "evidence map", "by chance", "better than chance by"], rows)


def importance_table(document: Document) -> str:
    """Features of each forest, the most important of the first on top."""
    forests = document["feature_importances"]
    features = dict.fromkeys(
        feature
        for importances in forests.values()
        for feature in sorted(importances, key=importances.__getitem__, reverse=True)
    )
    rows = [
        [
            feature,
            *(
                f"{importances[feature]:.3f}" if feature in importances else _NONE
                for importances in forests.values()
            ),
        ]
        for feature in features
    ]
    return _table(["feature", *forests], rows)


def _cells(
    figures: Mapping[str, Any], columns: Mapping[str, str], *, percent: bool = False
) -> list[str]:
    return [
        _interval(
            figures.get(name),
            percent=percent or name.endswith("_share"),
            decimals=1 if name.endswith("_px") else 3,
        )
        for name in columns
    ]


def _interval(
    figure: Mapping[str, float | None] | None,
    *,
    percent: bool = False,
    signed: bool = False,
    decimals: int = 3,
) -> str:
    if figure is None or figure["estimate"] is None:
        return _NONE
    form = f"{'+' if signed else ''}{'.1%' if percent else f'.{decimals}f'}"
    estimate, low, high = (figure[name] for name in ("estimate", "low", "high"))
    if low is None or high is None:
        return f"{estimate:{form}}"
    return f"{estimate:{form}} ({low:{form}} to {high:{form}})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
