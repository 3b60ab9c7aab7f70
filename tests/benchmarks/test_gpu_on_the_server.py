"""The GPU's table from the real server of the CPU profile, and where the GPU is missing."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest

from thyroid_benchmarks.cli_parts import Setting
from thyroid_benchmarks.gpu_command import measure_profile
from thyroid_benchmarks.gpu_run import GpuPlan
from thyroid_benchmarks.gpu_table import render_table
from thyroid_benchmarks.results import read_result
from thyroid_benchmarks.scenarios import Wish
from thyroid_benchmarks.verdict import Rules
from thyroid_pipeline import contract
from thyroid_server.embedded import EmbeddedTriton

# As little as shows every part; how busy the machine is says nothing about the tools.
PLAN = GpuPlan(
    images=4,
    wish=Wish(duration_s=2, warmup_s=0.5, bound_ms=60_000),
    in_flight=(1, 3),
    probe_s=1,
    max_probes=1,
    resolution=0.5,
    floor_cases=1,
    floor_rounds=1,
    rules=Rules(
        min_duration_s=0.1,
        min_requests=1,
        max_generator_share=1.0,
        max_late_ms=1e6,
        max_drift=1e6,
        min_compared=1,
        max_disturbance=1.0,
    ),
)


@pytest.fixture(scope="module")
def folder(
    server: EmbeddedTriton, model_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("gpu")
    setting = Setting(model_repository, out, 1, PLAN.images, server.grpc_address)
    measure_profile(setting, contract.CPU_PROFILE, PLAN, server.metrics_address)
    return out


@pytest.mark.server
def test_every_part_of_the_result_is_there(folder: Path) -> None:
    result = read_result(folder / "result.json")
    assert [run["scenario"]["name"] for run in result["runs"]] == [
        "single-stream",
        "3 clients",
        "offline",
    ]
    for run in result["runs"]:
        assert run["summary"]["failures"] == {}
        assert run["summary"]["screenings"] >= 1
    assert result["seeds"] == {"pool": 1, "order": 1}
    assert result["commit"]["commit"]
    assert result["versions"]["nvidia-pytriton"]
    assert result["floor"]["parallel_per_s"]["value"] > 0
    # One probe, which a bound of a minute lets pass.
    (probe,) = result["knee"]["probes"]
    assert probe["passed"]
    assert result["knee"]["passed_per_s"] == probe["rate_per_s"]
    gpu = result["gpu"]
    assert gpu["profile"] == "cpu"
    assert gpu["plans"] == []
    assert len(gpu["runs"]) == len(result["runs"])
    work = gpu["work"]
    rates = [run["summary"]["rate_per_s"]["value"] for run in result["runs"]]
    assert work["rate_per_s"] == max(rates)
    assert work["flop_per_s"] == pytest.approx(max(rates) * sum(work["flop_per_case"].values()))


@pytest.mark.server
def test_the_table_says_what_was_measured_and_what_was_not(folder: Path) -> None:
    result, page = read_result(folder / "result.json"), (folder / "table.md").read_text()
    assert page == render_table(result)
    rate = result["runs"][1]["summary"]["rate_per_s"]["value"]
    assert f"| 3 clients | {rate:,.1f} (" in page
    for step in contract.STEPS:
        assert f"| {step.name}" in page
    assert "Knee, p99 within 60000 ms of the scheduled time: " in page
    assert "The networks alone, in one process without a server: " in page
    if not result["gpu"]["devices"]:
        assert "| GPU | none |" in page
        assert "How busy the GPU was is not measured: NVML" in page
        assert "The ceiling of matrix products is not measured: torch" in page


@pytest.mark.server
def test_the_table_of_a_gpu(folder: Path) -> None:
    result = copy.deepcopy(read_result(folder / "result.json"))
    gpu = result["gpu"]
    gpu["devices"] = [
        {"name": "NVIDIA L4", "compute_capability": "8.9", "driver": "580.82.07"},
    ]
    gpu["utilisation"] = {"source": "NVML", "absence": None}
    result["runs"][1]["observed"]["generator_share"] = 0.06
    result["machine"]["cores"] = 16
    gpu["runs"][1]["utilisation"] = {"mean": 0.62, "highest": 0.9, "samples": 31}
    gpu["ceiling"] = {"flop_per_s": {"fp16": 1.2e14}, "absence": None}
    gpu["work"]["shares"] = {"fp16": 0.173}
    gpu["plans"] = [
        {
            "model": "resnet18",
            "runtime": "rtx",
            "runtime_version": "1.7.1.116",
            "precision": "fp16",
            "batch": {"min": 1, "opt": 8, "max": 16},
        }
    ]
    page = render_table(result)
    assert "| GPU | NVIDIA L4 (compute capability 8.9, driver 580.82.07) |" in page
    assert "resnet18: rtx 1.7.1.116, fp16, batch 1 to 16" in page
    assert "How busy the GPU was is told by NVML." in page
    assert "| 62% | 0.96 |" in page
    assert "| fp16 | 120.00 | 17.3% |" in page


def test_a_profile_that_cannot_be_served_here_is_refused_at_once(
    checkout: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, str(checkout / "benchmarks" / "gpu" / "measure.py")),
            *("--profile", "rtx", "--short", "--out", str(tmp_path / "out")),
        ],
        env={**os.environ, "PATH": str(tmp_path)},  # which hides a GPU, where there is one
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Error: this machine shows no NVIDIA GPU" in done.stderr
    assert "  to mend it: " in done.stderr
    assert not (tmp_path / "out").exists()
