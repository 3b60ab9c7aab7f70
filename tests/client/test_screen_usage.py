"""`thyroid-screen` used wrongly, or where it cannot work: exit codes, messages, nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from thyroid_client import ThyroidClient
from thyroid_client.cli import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'PATH…'"),
        (["{images}"], "Missing option '--out'"),
        (["{images}/none", "--out", "{tmp}/out"], "none does not exist"),
        (["{tmp}/empty", "--out", "{tmp}/out"], "no image was found"),
        (["{images}", "--out", "{tmp}/out", "--in-flight", "0"], "--in-flight"),
        (["{images}", "--out", "{tmp}/out", "--timeout-s", "0"], "--timeout-s"),
        (["{images}", "--out", "{tmp}/out", "--timeout-s", "nan"], "`request_s` (=nan)"),
        (["{images}", "--out", "{tmp}/out", "--server", "http://x"], "the scheme 'http'"),
        (["{images}", "--out", "{tmp}/out", "--tls-ca", "{tmp}/no.pem"], "cannot be read"),
        (["{images}", "--out", "{tmp}/out", "--tls-key", "{tmp}/k"], "`certificate_chain`"),
        (["{images}", "--out", "{images}/text.png"], "is a file"),
        (["{images}", "--out", "{images}"], "where the results go"),
    ],
)
def test_wrong_usage(images: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    done = run(*(argument.format(images=images, tmp=tmp_path) for argument in arguments))
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made(images: Path, screener: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(images, "--out", tmp_path / "file" / "out", "--server", screener.address)
    assert done.exit_code == 2
    assert "cannot be written to (Not a directory): give another folder" in done.output


def test_nobody_at_the_address_costs_no_earlier_results(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "results.jsonl").write_text("earlier\n")
    # Without the patience for a server that is just starting.
    wait = ThyroidClient.wait_until_ready
    monkeypatch.setattr(ThyroidClient, "wait_until_ready", lambda self, _: wait(self, 0.1))
    done = run(images, "--out", out, "--server", "localhost:1")
    assert done.exit_code == 2
    assert "cannot reach grpc://localhost:1" in done.output
    assert [path.name for path in out.iterdir()] == ["results.jsonl"]
    assert (out / "results.jsonl").read_text() == "earlier\n"


def test_a_full_disk_is_told(
    images: Path, screener: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, *_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thyroid_client._output.OutputFolder.write_mask", full)
    done = run(images, "--out", tmp_path / "out", "--server", screener.address)
    assert done.exit_code == 1
    assert "failed (No space left on device): results.jsonl holds what was done" in done.output


def test_help_names_the_exit_codes_and_the_purpose() -> None:
    done = run("--help")
    assert done.exit_code == 0
    for words in ("130", "wrong usage", "Research use only", "localhost:8001"):
        assert words in done.output
