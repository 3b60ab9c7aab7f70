"""`docs/deploy.md`: its commands fit what is there; those without Docker are the README's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

# Of `docker compose COMMAND` and `docker COMMAND`: those that the document uses.
OPTIONS = {
    "run": {"--build", "--rm", "--user", "--read-only", "--tmpfs"},
    "up": {"--build", "--detach", "--wait"},
    "build": {"--file", "--target", "--tag", "--build-arg"},
}
# Run by tests/server/test_rtx_profile.py, the last until it is refused for want of a GPU.
APPLIANCE = {
    ".venv/bin/thyroid-export engine --runtime rtx --out appliance",
    "cp --recursive appliance/. model_repository/",
    ".venv/bin/thyroid-serve --profile rtx",
}


@pytest.fixture(scope="module")
def document(checkout: Path) -> str:
    return (checkout / "docs" / "deploy.md").read_text()


@pytest.fixture(scope="module")
def commands(document: str) -> list[str]:
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", document, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def five_commands(document: str) -> str:
    found = re.search(r"^## Five commands\n(.*?)^## ", document, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def test_the_first_block_has_the_five_commands_that_its_heading_promises(document: str) -> None:
    section = five_commands(document)
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert len(block.splitlines()) == 5
    assert re.findall(r"^(\d)\. ", section, re.MULTILINE) == list("12345")


def test_each_command_is_one_that_some_test_knows(commands: list[str], checkout: Path) -> None:
    """The README's `console` commands are run by `tests/docs`."""
    readme = re.findall(r"^\$ (.*)$", (checkout / "README.md").read_text(), re.MULTILINE)
    others = [line for line in commands if not line.startswith(("docker ", "export COMPOSE_"))]
    assert others
    assert set(others) <= set(readme) | APPLIANCE


def test_the_variables_lead_to_files_and_profiles(
    commands: list[str], compose: dict[str, Any], checkout: Path
) -> None:
    known = {profile for each in compose["services"].values() for profile in each["profiles"]}
    exports = [line for line in commands if line.startswith("export ")]
    chosen = set()
    for line in exports:
        variables = dict(word.split("=", 1) for word in shlex.split(line)[1:])
        assert set(variables) == {"COMPOSE_FILE", "COMPOSE_ENV_FILES", "COMPOSE_PROFILES"}
        assert (checkout / variables["COMPOSE_FILE"]).is_file()
        assert (checkout / variables["COMPOSE_ENV_FILES"]).is_file()
        chosen.add(variables["COMPOSE_PROFILES"])
    assert chosen == {"cpu", "gpu"} < known


def test_docker_commands_name_what_there_is(
    commands: list[str], compose: dict[str, Any], stages: dict[str, Any], checkout: Path
) -> None:
    seen = set()
    for line in commands:
        words = shlex.split(line)
        if words[0] != "docker":
            continue
        words = words[2:] if words[1] == "compose" else words[1:]
        verb, *rest = words
        options = {word for word in rest if word.startswith("--") and word != "--help"}
        assert options <= OPTIONS[verb], line
        if "compose" in line and verb == "run":
            assert rest[-1] in compose["services"], line
        if verb == "build":
            assert rest[rest.index("--target") + 1] in stages
            assert (checkout / rest[rest.index("--file") + 1]).is_file()
            given = set(re.findall(r"--build-arg (\w+)=", line))
            target = rest[rest.index("--target") + 1]
            assert given == {"NGC_RELEASE", *arguments_of(target, stages)}
        seen.add(verb)
    assert seen == set(OPTIONS)


def arguments_of(target: str, stages: dict[str, Any]) -> set[str]:
    """The ARGs of a stage and of those it is made from."""
    found: set[str] = set()
    while target in stages:
        found |= set(stages[target].all("ARG"))
        target = stages[target].base
    return found


def test_ports_are_those_of_the_compose_file(document: str, compose: dict[str, Any]) -> None:
    published = {
        port.split(":")[1]
        for service in compose["services"].values()
        for port in service.get("ports", [])
    }
    section = five_commands(document)
    told = set(re.findall(r"\b(8\d{3}|9090|3000)\b", section))
    assert told == published
