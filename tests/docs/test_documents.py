"""What the documents say holds: commands run, options exist, links lead on, figures agree."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from pictures import phantom_png
from thyroid_server.embedded import EmbeddedTriton

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/deploy.md",
    "docs/design.md",
    "docs/engines.md",
    "docs/model_card.md",
    "docs/performance.md",
    "docs/results_schema.md",
)
COMMANDS = {
    "thyroid-serve": "thyroid_server.cli",
    "thyroid-screen": "thyroid_client.cli",
    "thyroid-train": "thyroid_training.cli",
    "thyroid-export": "thyroid_export.cli",
}
# `make test` runs this very test. `make serve` runs until it is stopped: tests/server runs the
# command behind it, and `test_serve_is_the_command_of_the_makefile` holds the two together.
NOT_RUN = {"make test", "make serve"}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def console_commands(text: str) -> list[str]:
    return [
        line.removeprefix("$ ")
        for block in blocks(text, "console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


def documents(checkout: Path) -> dict[str, str]:
    return {name: (checkout / name).read_text() for name in DOCUMENTS}


def test_every_document_is_listed(checkout: Path) -> None:
    there = {path.name for path in (*checkout.glob("*.md"), *(checkout / "docs").glob("*.md"))}
    assert there == {Path(name).name for name in DOCUMENTS}


@pytest.mark.server
@pytest.mark.timeout(600)
def test_console_commands_run(checkout: Path, server: EmbeddedTriton, tmp_path: Path) -> None:
    seen = 0
    for name, text in documents(checkout).items():
        for command in console_commands(text):
            seen += 1
            if command in NOT_RUN:
                continue
            # The documents speak of the default address and of the reader's own folders.
            run = command.replace("localhost:8001", server.grpc_address)
            run = run.replace("make demo", f"make demo DEMO={shlex.quote(str(tmp_path))}")
            run = run.replace("demo/phantoms", shlex.quote(str(tmp_path / "phantoms")))
            run = run.replace("--out answers", f"--out {shlex.quote(str(tmp_path / 'own'))}")
            done = subprocess.run(
                run, shell=True, cwd=checkout, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{name}: {run}\n{done.stdout}\n{done.stderr}"
    assert seen >= 4


@pytest.mark.server
def test_the_readme_shows_what_the_demo_prints(checkout: Path, tmp_path: Path) -> None:
    shown = blocks((checkout / "README.md").read_text(), "text")[0]
    done = subprocess.run(
        [sys.executable, "examples/demo.py", str(tmp_path)],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    )
    printed = done.stdout.replace(str(tmp_path), "demo")

    def lasting(output: str) -> list[str]:
        """Ports and times differ from run to run; phantoms and what is found in them do not."""
        return re.sub(r":\d{4,5}\b|[\d.]+ s, [\d.]+ images/s", "", output).splitlines()

    assert lasting(printed) == lasting(shown)


def test_options_in_documents_exist(checkout: Path) -> None:
    seen = 0
    for name, text in documents(checkout).items():
        for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL):
            for line in block.splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True) if line[:1] else []
                program = Path(words[0]).name if words else ""
                if program not in COMMANDS:
                    continue
                seen += 1
                check_options(import_module(COMMANDS[program]).main, words[1:], f"{name}: {line}")
    assert seen >= 5


def check_options(command: click.Command, words: list[str], where: str) -> None:
    while isinstance(command, click.Group):
        assert words, where
        assert words[0] in command.commands, where
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    used = {word.split("=")[0] for word in words if word.startswith("--")}
    assert used <= known, where


def test_serve_is_the_command_of_the_makefile(checkout: Path) -> None:
    rule = re.search(r"^serve:.*\n\t(.*)$", (checkout / "Makefile").read_text(), re.MULTILINE)
    assert rule is not None
    assert rule[1].split() == ["$(BIN)/thyroid-serve", "--profile", "cpu"]


@pytest.mark.server
def test_python_examples_run(checkout: Path, server: EmbeddedTriton, tmp_path: Path) -> None:
    (tmp_path / "frame.png").write_bytes(phantom_png(1))
    examples = blocks((checkout / "README.md").read_text(), "python")
    assert examples
    for example in examples:
        code = example.replace("localhost:8001", server.grpc_address)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_links_lead_somewhere(checkout: Path) -> None:
    for name, text in documents(checkout).items():
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if not target.startswith("http"):
                assert (checkout / name).parent.joinpath(target).exists(), f"{name}: {target}"


def test_figures_agree_with_their_files(checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(checkout / "docs" / "render_figures.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
