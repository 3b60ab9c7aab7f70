"""Writes `dashboards/screening.json` from the list of panels below; `--check` only compares.

Grafana's own JSON says everything a dozen times over. Here each panel is a line of what it asks.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).parent / "dashboards" / "screening.json"

_SOURCE = {"type": "prometheus", "uid": "prometheus"}
_WINDOW = "[$__rate_interval]"
_COLUMNS = 24  # of Grafana's grid
_HEIGHT = 8
_STEPS = '{model!="thyroid_screening"}'
_OF_THE_CLASSIFIER = (
    "Counted where a Python-based backend runs ResNet-18: thyroid-serve with the profiles cpu and "
    "rtx. Empty in the GPU's container."
)


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: Its heading.
        unit: Grafana's name of the unit.
        queries: PromQL by legend; `{{label}}` in a legend is filled in by Grafana.
        note: What the reader has to know, behind the panel's (i).
        kind: Grafana's panel type.
        width: In columns of 24.
        top: Upper end of the axis; None leaves it to the data.
    """

    title: str
    unit: str
    queries: dict[str, str]
    note: str = ""
    kind: str = "timeseries"
    width: int = 8
    top: float | None = None


def _mean_us(what: str, by: str = "request_success") -> str:
    """Mean of a duration over requests, in seconds; Triton counts microseconds."""
    spent = f"sum by (model) (rate(nv_inference_{what}_duration_us{_WINDOW}))"
    return f"{spent} / (sum by (model) (rate(nv_inference_{by}{_WINDOW})) > 0) / 1e6"


def _bucket_shares(metric: str) -> str:
    """Frames by bucket of a histogram."""
    return f"sum by (le) (increase({metric}_bucket{_WINDOW}))"


ROWS: dict[str, tuple[Panel, ...]] = {
    "Now": (
        Panel("Server", "bool_on_off", {"Triton": 'up{job="triton"}'}, kind="stat", width=4),
        Panel(
            "Screenings",
            "reqps",
            {"": 'sum(rate(nv_inference_count{model="thyroid_screening"}[1m]))'},
            "Images, not requests: one request may hold several.",
            kind="stat",
            width=5,
        ),
        Panel(
            "No nodule, last hour",
            "percentunit",
            {"": "thyroid:no_nodule:share1h"},
            kind="stat",
            width=5,
            top=1,
        ),
        Panel(
            "Out of distribution, last hour",
            "percentunit",
            {"": "thyroid:out_of_distribution:share1h"},
            _OF_THE_CLASSIFIER,
            kind="stat",
            width=5,
            top=1,
        ),
        Panel(
            "Alerts firing",
            "short",
            {"": 'count(ALERTS{alertstate="firing"}) or vector(0)'},
            kind="stat",
            width=5,
        ),
    ),
    "Each model": (
        Panel(
            "Images a second",
            "reqps",
            {"{{model}}": f"sum by (model) (rate(nv_inference_count{_WINDOW}))"},
        ),
        Panel(
            "Time of a request, mean",
            "s",
            {"{{model}}": _mean_us("request")},
            "thyroid_screening is the whole way. The mean alone: Triton's counters give no "
            "percentiles; measure those at the client.",
        ),
        Panel(
            "Time in the queue, mean",
            "s",
            {"{{model}}": _mean_us("queue").replace("_us[", f"_us{_STEPS}[")},
            "The ensemble's own is always near 0.",
        ),
        Panel(
            "Images in one execution, mean",
            "short",
            {
                "{{model}}": f"sum by (model) (rate(nv_inference_count{_STEPS}{_WINDOW})) / "
                f"(sum by (model) (rate(nv_inference_exec_count{_STEPS}{_WINDOW})) > 0)"
            },
            "How many images dynamic batching gathers.",
        ),
        Panel(
            "Waiting requests",
            "short",
            {"{{model}}": f"sum by (model) (nv_inference_pending_request_count{_STEPS})"},
        ),
        Panel(
            "Failures a second",
            "reqps",
            {
                "{{model}} {{reason}}": "sum by (model, reason) "
                f"(rate(nv_inference_request_failure{_WINDOW})) > 0"
            },
            "A refused image fails the ensemble alone; a failing step has lost process or GPU.",
        ),
    ),
    "Answers": (
        Panel(
            "Share of frames without a nodule",
            "percentunit",
            {"last hour": "thyroid:no_nodule:share1h"},
            top=1,
        ),
        Panel(
            "Decisions",
            "short",
            {"{{decision}}": f"sum by (decision) (increase(thyroid_decisions_total{_WINDOW}))"},
            _OF_THE_CLASSIFIER,
        ),
        Panel(
            "Mean scores, last hour",
            "percentunit",
            {
                "malignancy": "thyroid:malignancy:mean1h",
                "highest nodule probability": "thyroid:nodule_probability:mean1h",
            },
            "The nodule probability in every profile; malignancy where a Python-based backend runs "
            "ResNet-18: thyroid-serve with the profiles cpu and rtx.",
            top=1,
        ),
        Panel(
            "Malignancy",
            "short",
            {"{{le}}": _bucket_shares("thyroid_malignancy")},
            _OF_THE_CLASSIFIER,
            kind="heatmap",
        ),
        Panel(
            "Highest nodule probability of a frame",
            "short",
            {"{{le}}": _bucket_shares("thyroid_nodule_probability")},
            kind="heatmap",
        ),
        Panel(
            "Out-of-distribution score",
            "short",
            {"{{le}}": _bucket_shares("thyroid_ood_score")},
            f"Above 1 no malignancy is given. {_OF_THE_CLASSIFIER}",
            kind="heatmap",
        ),
    ),
    "Machine": (
        Panel(
            "GPU utilisation",
            "percentunit",
            {"{{gpu_uuid}}": "nv_gpu_utilization"},
            width=6,
            top=1,
        ),
        Panel(
            "GPU memory",
            "bytes",
            {
                "used {{gpu_uuid}}": "nv_gpu_memory_used_bytes",
                "total {{gpu_uuid}}": "nv_gpu_memory_total_bytes",
            },
            width=6,
        ),
        Panel(
            "GPU power",
            "watt",
            {"{{gpu_uuid}}": "nv_gpu_power_usage", "limit {{gpu_uuid}}": "nv_gpu_power_limit"},
            width=6,
        ),
        Panel(
            "CPU and its memory",
            "percentunit",
            {
                "CPU": "nv_cpu_utilization",
                "memory": "nv_cpu_memory_used_bytes / nv_cpu_memory_total_bytes",
            },
            "Of the whole machine.",
            width=6,
            top=1,
        ),
    ),
}


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        panels.append(_row(len(panels) + 1, title, y))
        x, y = 0, y + 1
        for panel in row:
            if x + panel.width > _COLUMNS:
                x, y = 0, y + _HEIGHT
            panels.append(_panel(len(panels) + 1, panel, x, y))
            x += panel.width
        y += _HEIGHT
    return {
        "uid": "thyroid-screening",
        "title": "Thyroid screening",
        "description": "The screening server: each step, the answers, the machine. Sums over "
        "frames only; nothing here is about one patient.",
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "panels": panels,
    }


def _row(number: int, title: str, y: int) -> dict[str, Any]:
    place = {"h": 1, "w": _COLUMNS, "x": 0, "y": y}
    return {"id": number, "type": "row", "title": title, "gridPos": place, "panels": []}


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    is_heatmap = panel.kind == "heatmap"
    field: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.top is not None:
        field["max"] = panel.top
    shown: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.note,
        "datasource": _SOURCE,
        "gridPos": {"h": _HEIGHT, "w": panel.width, "x": x, "y": y},
        "fieldConfig": {"defaults": field, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": query,
                "legendFormat": legend,
                "format": "heatmap" if is_heatmap else "time_series",
            }
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }
    if is_heatmap:
        # The buckets are the metric's own; Grafana is not to make others.
        shown["options"] = {"calculate": False, "color": {"scheme": "Blues", "mode": "scheme"}}
    return shown


def main() -> int:
    """Write the file, or with `--check` tell whether it is up to date."""
    text = json.dumps(dashboard(), indent=1) + "\n"
    if sys.argv[1:] == ["--check"]:
        if DASHBOARD.read_text() == text:
            return 0
        print(f"{DASHBOARD} is out of date: write it afresh with python {__file__}")
        return 1
    DASHBOARD.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
