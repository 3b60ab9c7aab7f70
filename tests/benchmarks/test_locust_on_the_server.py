"""Locust on the real server: by the commands of the documents, and counting as Locust counts."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from thyroid_benchmarks.pool import Shares, write_pool
from thyroid_benchmarks.reference_writing import write_references
from thyroid_server.embedded import EmbeddedTriton

pytestmark = pytest.mark.server
LOCUST = Path(sys.executable).with_name("locust")
COMMAND = ".venv/bin/locust "


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory, model_repository: Path) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    write_pool(folder, 8, seed=11, shares=Shares(no_nodule=0.25, corrupt=0.25))
    write_references(folder, model_repository, threads=1)
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_exact_latencies_are_as_many_as_locust_counts(
    server: EmbeddedTriton, pool: Path, checkout: Path, tmp_path: Path, workers: int
) -> None:
    command = [str(LOCUST), "-f", str(checkout / "benchmarks/locustfile.py")]
    command += ["--host", f"grpc://{server.grpc_address}", "--headless", "-u", "2", "-t", "6s"]
    command += ["--pool", str(pool)]
    command += [
        "--exact-json",
        str(tmp_path / "exact.json"),
        "--json-file",
        str(tmp_path / "locust"),
    ]
    if workers:
        command += ["--processes", str(workers)]
    done = subprocess.run(
        command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=240
    )
    # 1 would be Locust's word for a failed request: a wrong answer, or a corrupt image answered.
    assert done.returncode == 0, done.stderr + done.stdout
    assert "Exact latencies of right answers" in done.stdout
    exact = json.loads((tmp_path / "exact.json").read_text())
    rows = json.loads((tmp_path / "locust.json").read_text())
    counted = {row["name"]: row["num_requests"] for row in rows}
    assert {name: one["count"] for name, one in exact["summary"].items()} == counted
    assert {name: len(one) for name, one in exact["latencies_us"].items()} == counted
    assert set(counted) <= {"nodule", "no_nodule", "corrupt"}
    assert counted["nodule"] >= 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_of_the_document_run(
    server: EmbeddedTriton, pool: Path, checkout: Path, tmp_path: Path
) -> None:
    """They name no pool: a small one lies where Locust would make its own of 150 images."""
    shutil.copytree(pool, tmp_path / "runs" / "benchmarks" / "pool-150-1")
    (tmp_path / "benchmarks").symlink_to(checkout / "benchmarks")
    text = (checkout / "docs" / "performance.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith(COMMAND)]
    # Headless, by several workers, and in the browser.
    assert [("--headless" in line, "--processes" in line) for line in lines] == [
        (True, False),
        (True, True),
        (False, False),
    ]
    for line in lines:
        words = shlex.split(line.replace("localhost:8001", server.grpc_address))[1:]
        if "--headless" in words:
            words[words.index("-t") + 1] = "10s"
            done = subprocess.run(
                [str(LOCUST), *words],
                cwd=tmp_path,
                check=False,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr + done.stdout
            assert re.search(r"^nodule +[1-9]", done.stdout, re.MULTILINE), done.stdout
        else:
            see_the_page(words, tmp_path)


def see_the_page(words: list[str], folder: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(LOCUST), *words, "--web-host", "127.0.0.1", "--web-port", str(port)]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 600
            while True:
                assert process.poll() is None
                assert time.monotonic() < deadline
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                        assert "Locust" in page.read().decode()
                        return
                except OSError:
                    time.sleep(0.2)
        finally:
            process.terminate()
