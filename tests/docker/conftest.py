"""The container files, read: Dockerfile by stage, compose file, versions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml


@dataclass(frozen=True)
class Stage:
    """One stage of a Dockerfile: what it is made from, and its instructions in order."""

    base: str
    instructions: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        return [text for instruction, text in self.instructions if instruction == name]


def read_stages(text: str) -> dict[str, Stage]:
    """The stages by name; continued lines are joined, comments left out."""
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    stages: dict[str, Stage] = {}
    for chunk in re.split(r"^(?=FROM )", lines, flags=re.MULTILINE)[1:]:
        head, *rest = [line.strip() for line in chunk.splitlines() if line.strip()]
        found = re.fullmatch(r"FROM (\S+) AS (\S+)", head)
        assert found, f"a stage without a name: {head}"
        pairs = [line.split(maxsplit=1) for line in rest]
        stages[found[2]] = Stage(found[1], tuple((name, text) for name, text in pairs))
    return stages


@pytest.fixture(scope="session")
def docker(checkout: Path) -> Path:
    return checkout / "docker"


@pytest.fixture(scope="session")
def stages(docker: Path) -> dict[str, Stage]:
    return read_stages((docker / "Dockerfile").read_text())


@pytest.fixture(scope="session")
def versions(docker: Path) -> dict[str, str]:
    lines = (docker / "versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="session")
def compose(docker: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((docker / "compose.yaml").read_text()))
