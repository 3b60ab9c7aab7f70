"""Which of our metrics a profile counts, and what of alerts and panels stays without data there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from thyroid_pipeline import contract
from thyroid_pipeline.screening_metrics import METRICS
from thyroid_server.workspace import backend_names

PROFILES = (contract.DEFAULT_PROFILE, contract.CPU_PROFILE, contract.RTX_PROFILE)
OF_THE_CROPPER = {"thyroid_frames_total", "thyroid_nodule_probability"}
OF_THE_CLASSIFIER = {"thyroid_decisions_total", "thyroid_malignancy", "thyroid_ood_score"}


def counted(model_repository: Path, profile: str) -> set[str]:
    """Our metrics whose model's process is Python's, where thyroid-serve or Triton runs it."""
    found = set()
    for model, metrics in METRICS.items():
        name = "config.pbtxt" if profile == contract.DEFAULT_PROFILE else f"configs/{profile}.pbtxt"
        text = (model_repository / model / name).read_text()
        if text_format.Parse(text, ModelConfig()).backend in backend_names():
            found |= {metric.name for metric in metrics}
    return found


def missing_there(model_repository: Path) -> set[str]:
    """Those that the profile of the TensorRT plans, which is the default, does not count."""
    ours = {metric.name for metrics in METRICS.values() for metric in metrics}
    return ours - counted(model_repository, contract.DEFAULT_PROFILE)


@pytest.mark.parametrize(
    ("profile", "names"),
    [
        (contract.DEFAULT_PROFILE, OF_THE_CROPPER),
        (contract.CPU_PROFILE, OF_THE_CROPPER | OF_THE_CLASSIFIER),
        (contract.RTX_PROFILE, OF_THE_CROPPER | OF_THE_CLASSIFIER),
    ],
)
def test_what_each_profile_counts(model_repository: Path, profile: str, names: set[str]) -> None:
    assert counted(model_repository, profile) == names


def test_the_document_says_which_profiles_count_what(
    checkout: Path, model_repository: Path
) -> None:
    text = (checkout / "docs" / "deploy.md").read_text()
    rows = re.findall(
        r"^\| `(thyroid_\w+)(?:\{\w+\})?` \| [^|]* \| ([^|]*) \|$", text, re.MULTILINE
    )
    by_profile = {profile: counted(model_repository, profile) for profile in PROFILES}
    assert len(rows) == 5
    for name, told in rows:
        profiles = [profile for profile in PROFILES if name in by_profile[profile]]
        named = "all" if len(profiles) == len(PROFILES) else ", ".join(f"`{p}`" for p in profiles)
        assert told == named, name


@pytest.fixture(scope="module")
def rules(docker: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load((docker / "prometheus" / "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def without_data(expression: str, rules: list[dict[str, Any]], missing: set[str]) -> bool:
    """Whether an expression asks for a metric that is missing, itself or by a recorded one."""
    for rule in rules:
        if "record" in rule:
            expression = expression.replace(rule["record"], rule["expr"])
    return any(re.search(rf"\b{name}(?:_sum|_count|_bucket)?\b", expression) for name in missing)


def test_the_document_names_what_stays_empty_in_the_gpu_s_container(
    checkout: Path, docker: Path, model_repository: Path, rules: list[dict[str, Any]]
) -> None:
    missing = missing_there(model_repository)
    alerts = [
        rule["alert"]
        for rule in rules
        if "alert" in rule and without_data(rule["expr"], rules, missing)
    ]
    dashboard = json.loads((docker / "grafana" / "dashboards" / "screening.json").read_text())
    panels, partly = [], []
    for panel in dashboard["panels"]:
        empty = [
            without_data(target["expr"], rules, missing) for target in panel.get("targets", [])
        ]
        if empty and all(empty):
            panels.append(panel["title"])
        elif any(empty):
            partly.append(panel["title"])
    text = (checkout / "docs" / "deploy.md").read_text()
    found = re.search(
        r"these have no data:\n\n- the alerts (.*);\n- the panels (.*?)\.$", text, re.M | re.S
    )
    assert found
    assert re.findall(r"`([^`]+)`", found[1]) == alerts
    assert re.findall(r"`([^`]+)`", found[2]) == [*panels, *partly]
    for panel in dashboard["panels"]:
        if panel["title"] in panels:
            assert "thyroid-serve with the profiles cpu and rtx" in panel["description"]


def test_drift_of_scores_shows_in_every_profile(
    model_repository: Path, rules: list[dict[str, Any]]
) -> None:
    missing = missing_there(model_repository)
    seen = {
        rule["alert"]
        for rule in rules
        if "thyroid:" in rule.get("expr", "")
        and "alert" in rule
        and not without_data(rule["expr"], rules, missing)
    }
    assert seen == {"QueueGrows", "NoNoduleRateJumped", "NoduleProbabilityDrifted"}


def test_a_dead_process_shows_whichever_step_s_it_was(rules: list[dict[str, Any]]) -> None:
    (alert,) = [rule for rule in rules if rule.get("alert") == "StubDead"]
    (left_out,) = re.findall(r'model(!=|=~?|!~)"([^"]*)"', alert["expr"])
    assert left_out == ("!=", contract.ENSEMBLE.name)
