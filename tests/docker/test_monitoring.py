"""Prometheus' rules and Grafana's dashboard ask for metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from pictures import phantom_png
from thyroid_client import ThyroidClient
from thyroid_pipeline import contract
from thyroid_pipeline.screening_metrics import METRICS
from thyroid_server.embedded import EmbeddedTriton

# Only a server on a GPU shows them; the names are those of Triton's document on metrics.
ON_A_GPU = {
    "nv_gpu_utilization",
    "nv_gpu_memory_used_bytes",
    "nv_gpu_memory_total_bytes",
    "nv_gpu_power_usage",
    "nv_gpu_power_limit",
}
# Prometheus makes them itself.
OF_PROMETHEUS = {"up", "ALERTS"}


@pytest.fixture(scope="module")
def rules(docker: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load((docker / "prometheus" / "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="module")
def dashboard(docker: Path) -> dict[str, Any]:
    return dict(json.loads((docker / "grafana" / "dashboards" / "screening.json").read_text()))


def queries(dashboard: dict[str, Any]) -> list[str]:
    panels = dashboard["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def metric_names(expression: str) -> set[str]:
    """Names that are neither a function, a keyword nor inside braces or a label list."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", expression)
    bare = re.sub(r"\b(?:by|without) \([^)]*\)", "", bare)
    # A name that an opening bracket follows is a function's.
    words = set(re.findall(r"[a-zA-Z_:][\w:]*", bare)) - set(re.findall(r"(\w+)\s*\(", bare))
    return {word for word in words if "_" in word or ":" in word or word in OF_PROMETHEUS}


@pytest.mark.server
def test_the_real_server_has_what_they_ask_for(
    server: EmbeddedTriton, rules: list[dict[str, Any]], dashboard: dict[str, Any]
) -> None:
    with ThyroidClient(server.grpc_address) as client:
        client.screen(phantom_png(0))
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as page:
        shown = set(re.findall(r"^([a-z_]+)", page.read().decode(), re.MULTILINE))
    recorded = {rule["record"] for rule in rules if "record" in rule}
    asked = set()
    for expression in [*queries(dashboard), *(rule["expr"] for rule in rules)]:
        asked |= metric_names(expression)
    assert len(asked) > 15
    assert asked <= shown | recorded | ON_A_GPU | OF_PROMETHEUS
    assert recorded <= asked, "a record that nobody looks at"


def test_every_metric_of_ours_is_shown(
    rules: list[dict[str, Any]], dashboard: dict[str, Any]
) -> None:
    asked = " ".join([*queries(dashboard), *(rule["expr"] for rule in rules)])
    for metrics in METRICS.values():
        for metric in metrics:
            assert metric.name in asked


def test_labels_that_are_asked_for_are_given(
    rules: list[dict[str, Any]], dashboard: dict[str, Any]
) -> None:
    models = {model.name for model in contract.MODELS}
    decisions = {decision.label for decision in contract.Decision}
    known = {"model": models, "decision": decisions, "nodule": {"none", "found"}}
    seen = set()
    for expression in [*queries(dashboard), *(rule["expr"] for rule in rules)]:
        for label, value in re.findall(r'(model|decision|nodule)[!=]=?~?"([^"]*)"', expression):
            seen.add(label)
            assert set(value.split("|")) <= known[label], expression
    assert seen == set(known)


def test_the_dashboard_is_as_its_list_of_panels(docker: Path) -> None:
    script = docker / "grafana" / "render_dashboard.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_panels_lie_beside_each_other(dashboard: dict[str, Any]) -> None:
    covered: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not covered & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        covered |= cells


def test_grafana_finds_source_and_dashboard(
    docker: Path, compose: dict[str, Any], dashboard: dict[str, Any]
) -> None:
    provisioning = docker / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    used = {panel["datasource"]["uid"] for panel in dashboard["panels"] if "datasource" in panel}
    assert used == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose["services"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/files.yaml").read_text())["providers"]
    grafana = compose["services"]["grafana"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).name in {path.name for path in (docker / "grafana/dashboards").iterdir()}


def test_prometheus_scrapes_the_server_whatever_its_profile(
    docker: Path, compose: dict[str, Any]
) -> None:
    config = yaml.safe_load((docker / "prometheus" / "prometheus.yaml").read_text())
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"server:{contract.METRICS_PORT}"]}]
    for name in ("server-cpu", "server-gpu"):
        assert compose["services"][name]["networks"]["default"]["aliases"] == ["server"]
    mounted = "/etc/prometheus/prometheus.yaml"
    assert f"--config.file={mounted}" in compose["services"]["prometheus"]["command"]


def test_the_document_tells_of_each_metric_and_alert(
    checkout: Path, rules: list[dict[str, Any]]
) -> None:
    text = (checkout / "docs" / "deploy.md").read_text()
    told = re.findall(r"^\| `([a-zA-Z_]+)(?:\{(\w+)\})?` \|", text, re.MULTILINE)
    ours = [
        (metric.name, getattr(metric, "label", "")) for each in METRICS.values() for metric in each
    ]
    alerts = [(rule["alert"], "") for rule in rules if "alert" in rule]
    assert sorted(told) == sorted([*ours, *alerts])


def test_promtool_accepts_the_rules_and_their_tests(docker: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed here: it comes with Prometheus")
    folder = docker / "prometheus"
    for arguments in (["check", "config", "prometheus.yaml"], ["test", "rules", "rules_test.yaml"]):
        done = subprocess.run(
            [promtool, *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
