"""One place names the versions of the containers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def container_texts(docker: Path) -> dict[str, str]:
    files = [
        file for file in docker.rglob("*") if file.is_file() and "__pycache__" not in str(file)
    ]
    files += [docker.parent / "docs" / "deploy.md"]
    return {str(file): file.read_text() for file in files if file.name != "versions.env"}


def test_no_other_file_names_a_version(docker: Path, versions: dict[str, str]) -> None:
    texts = container_texts(docker)
    assert len(texts) > 8
    for name, text in texts.items():
        for version in versions.values():
            assert version not in text, f"{name} names {version}"
            assert not re.search(rf"\b{re.escape(version.split('==')[-1])}\b", text), name


def test_every_image_is_named_with_its_version(
    stages: dict[str, Any], compose: dict[str, Any], versions: dict[str, str]
) -> None:
    named = set()
    for stage in stages.values():
        if stage.base not in stages:
            (variable,) = re.findall(r"^[a-z./]+:\$\{(\w+)\}(?:-py3)?$", stage.base)
            named.add(variable)
    for name, service in compose["services"].items():
        if "build" in service:
            named |= set(service["build"]["args"])
        else:
            found = re.fullmatch(
                r"[a-z./]+:\$\{(\w+):\?see docker/versions\.env\}", service["image"]
            )
            assert found, name
            named.add(found[1])
    assert named == set(versions)


def test_plans_are_built_and_served_in_one_release(stages: dict[str, Any]) -> None:
    assert "${NGC_RELEASE}" in stages["gpu"].base
    assert stages["engines"].base == "gpu"
    assert stages["export"].base == "engines"


def test_the_document_on_plans_speaks_of_the_same_release(
    checkout: Path, versions: dict[str, str]
) -> None:
    text = (checkout / "docs" / "engines.md").read_text()
    assert f" {versions['TENSORRT_BINDINGS']}\n" in text
    assert versions["NGC_RELEASE"] in text
