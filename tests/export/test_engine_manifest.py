"""The record of a plan, the facts of a machine, and how the command says no."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from thyroid_export.engine_builder import BuildOptions
from thyroid_export.engine_cli import engine
from thyroid_export.engine_manifest import build_engine, write_atomically
from thyroid_export.engine_runtime import EngineError
from thyroid_pipeline import plan_machine
from thyroid_pipeline.plan_machine import (
    Gpu,
    Machine,
    library_version,
    parse_cuda,
    parse_gpus,
    read_machine,
)
from thyroid_pipeline.plan_manifest import (
    BatchProfile,
    HardwareCompatibility,
    PlanRecord,
    PlanRecordError,
    Runtime,
    file_sha256,
    plan_path,
    read_record,
    record_path,
    record_text,
)

RECORD = PlanRecord(
    model="transunet",
    runtime=Runtime.TENSORRT,
    runtime_version="10.16.1.11",
    onnx_sha256="a" * 64,
    made_of_sha256="c" * 64,
    plan_sha256="b" * 64,
    plan_bytes=7,
    precision="fp32",
    batch=BatchProfile(1, 8, 16),
    workspace_mib=512,
    version_compatible=False,
    hardware_compatibility=HardwareCompatibility.AMPERE,
    compute_capabilities=("8.9",),
    gpu="NVIDIA L4",
    driver="580.82.07",
    cuda="13.0",
    built="2026-11-23T20:00:00+00:00",
)


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        dataclasses.replace(
            RECORD,
            runtime=Runtime.RTX,
            workspace_mib=None,
            gpu=None,
            driver=None,
            cuda=None,
            compute_capabilities=(),
            hardware_compatibility=HardwareCompatibility.NONE,
        ),
    ],
    ids=["on a GPU", "without one"],
)
def test_a_record_is_read_as_it_was_written(record: PlanRecord, tmp_path: Path) -> None:
    path = tmp_path / "model.plan.json"
    path.write_text(record_text(record))
    assert read_record(path) == record
    assert json.loads(path.read_text())["batch"] == {"min": 1, "opt": 8, "max": 16}


def test_places(tmp_path: Path) -> None:
    plan = plan_path(tmp_path, "resnet18", Runtime.TENSORRT)
    assert plan == tmp_path / "resnet18" / "1" / "model.plan"
    assert record_path(plan).name == "model.plan.json"
    assert plan_path(tmp_path, "resnet18", Runtime.RTX) != plan  # neither library reads both


@pytest.mark.parametrize(
    "change",
    [
        {"runtime": "onnxruntime"},
        {"plan_bytes": "7"},
        {"batch": {"min": 1}},
        {"batch": [1, 8, 16]},
        {"workspace_mib": "512"},
        {"compute_capabilities": "8.9"},
        {"compute_capabilities": [8.9]},
        {"compute_capabilities": ["sm_89"]},
        {"runtime_version": "10"},
        {"gpu": 4},
        {"more": 1},
    ],
    ids=str,
)
def test_a_record_that_is_none_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "model.plan.json"
    path.write_text(json.dumps(json.loads(record_text(RECORD)) | change))
    with pytest.raises(PlanRecordError, match=r"model.plan.json is no record of a plan"):
        read_record(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b'{"model": "transunet"}'])
def test_a_file_that_is_no_record_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.plan.json"
    path.write_bytes(content)
    with pytest.raises(PlanRecordError, match="build the plan again"):
        read_record(path)


def test_hash_of_a_large_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    path = tmp_path / "large"
    path.write_bytes(content)
    assert file_sha256(path) == hashlib.sha256(content).hexdigest()


def test_a_write_that_fails_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "model.plan"
    path.write_bytes(b"earlier")
    with pytest.raises(TypeError):
        write_atomically(path, None)  # type: ignore[arg-type]
    assert path.read_bytes() == b"earlier"
    assert [each.name for each in tmp_path.iterdir()] == ["model.plan"]


# --- the machine


def test_gpus_as_nvidia_smi_lists_them() -> None:
    answer = "NVIDIA L4, 8.9, 580.82.07\nNVIDIA H100 80GB HBM3, 9.0, 580.82.07\n"
    assert parse_gpus(answer) == (
        Gpu("NVIDIA L4", "8.9", "580.82.07"),
        Gpu("NVIDIA H100 80GB HBM3", "9.0", "580.82.07"),
    )


@pytest.mark.parametrize("answer", ["", "No devices were found\n", "NVIDIA L4, [N/A], 580.82.07\n"])
def test_no_gpus(answer: str) -> None:
    assert parse_gpus(answer) == ()


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("| NVIDIA-SMI 580.82.07    Driver Version: 580.82.07    CUDA Version: 13.0  |", "13.0"),
        ("| NVIDIA-SMI 595.10   KMD Version: 595.10   CUDA UMD Version: 13.2   |", "13.2"),
        ("CUDA Version        : 12.4", "12.4"),
        ("CUDA Version: N/A", None),
        ("", None),
    ],
)
def test_cuda_version(answer: str, version: str | None) -> None:
    assert parse_cuda(answer) == version


def test_a_machine_is_read_through_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        '#!/bin/sh\n[ "$1" ] && echo "NVIDIA L4, 8.9, 580.82.07" || echo "| CUDA Version: 13.0 |"\n'
    )
    tool.chmod(0o755)
    monkeypatch.setattr(plan_machine, "_NVIDIA_SMI", str(tool))
    machine = read_machine()
    assert machine.gpus == (Gpu("NVIDIA L4", "8.9", "580.82.07"),)
    assert machine.cuda == "13.0"
    tool.write_text("#!/bin/sh\necho 'NVIDIA L4, 8.9, 580.82.07'\nexit 9\n")
    assert read_machine().gpus == ()  # it failed, whatever it wrote


def test_a_machine_without_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_machine, "_NVIDIA_SMI", "/nowhere/nvidia-smi")
    machine = read_machine()
    assert machine.gpus == ()
    assert machine.cuda is None


@pytest.mark.parametrize("name", ["libnowhere.so.1", "libc.so.6"])
def test_a_library_that_tells_no_version(name: str) -> None:
    assert library_version(name) is None


# --- the command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--runtime"),
        (["--runtime", "onnx"], "'onnx' is not one of"),
        (["--runtime", "rtx", "--model", "frame_decoder"], "'frame_decoder' is not one of"),
        (["--runtime", "rtx", "--max-batch", "0"], "--max-batch"),
        (["--runtime", "rtx", "--min-batch", "9"], "--min-batch 9, --opt-batch 8 and"),
        (["--runtime", "rtx", "--max-batch", "4"], "must not fall from one to the next: give all"),
        (["--runtime", "rtx", "--timing-cache", "file"], "--timing-cache has no meaning"),
        (["--runtime", "rtx", "--timing-cache", "file"], "or build by --runtime tensorrt"),
        (["--runtime", "rtx", "--version-compatible"], "--version-compatible has no meaning"),
        (
            ["--runtime", "rtx", "--hardware-compatible", "ampere"],
            "has no meaning for TensorRT for",
        ),
        (["--runtime", "tensorrt", "--compute-capability", "8.9"], "has no meaning for TensorRT:"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(engine, arguments)
    assert result.exit_code == 2
    assert words in result.output


def test_help_needs_neither_torch_nor_tensorrt() -> None:
    code = """
import sys
from click.testing import CliRunner
from thyroid_export.engine_cli import engine
result = CliRunner().invoke(engine, ["--help"])
assert result.exit_code == 0, result.output
assert not {"torch", "onnx", "tensorrt", "tensorrt_rtx"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- what is refused before the library is asked


OPTIONS = BuildOptions(BatchProfile(1, 8, 16))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A file where the network lies; nobody gets as far as to read it."""
    file = tmp_path / "transunet" / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    file.touch()
    return tmp_path


def test_gpus_of_several_kinds_are_refused(repository: Path) -> None:
    machine = Machine(
        (Gpu("NVIDIA L4", "8.9", "580"), Gpu("NVIDIA H100 PCIe", "9.0", "580")), "13.0", {}
    )
    with pytest.raises(EngineError, match=r"NVIDIA L4, NVIDIA H100 PCIe.*--gpus device=N"):
        build_engine(repository, "transunet", Runtime.TENSORRT, OPTIONS, machine)


def test_a_missing_network_is_named_with_both_ways_to_it(repository: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        build_engine(repository, "resnet18", Runtime.RTX, OPTIONS, Machine((), None, {}))
    file = repository / "resnet18" / "1" / "model.onnx"
    assert str(error.value).startswith(f"{file} does not exist, the network resnet18 was wanted")
    assert "--model-repository, or export it with `thyroid-export onnx" in str(error.value)


@pytest.mark.parametrize(
    ("given", "option"), [("out", "--out"), ("timing_cache", "--timing-cache")]
)
@pytest.mark.parametrize("is_file", [True, False], ids=["a file", "of another user"])
def test_where_nothing_can_be_written_is_said_before_the_build(
    repository: Path, given: str, option: str, is_file: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, access = repository / "place", os.access
    if is_file:
        place.touch()
    else:
        place.mkdir()
    # Tests may be run by root, to whom every folder is open.
    monkeypatch.setattr(
        os, "access", lambda path, mode: access(path, mode) and (path != place or mode == os.F_OK)
    )
    below: dict[str, Any] = {given: place / "new" / "folder"}
    with pytest.raises(EngineError) as error:
        build_engine(repository, "transunet", Runtime.RTX, OPTIONS, Machine((), None, {}), **below)
    assert f"{place} is no folder that this user may write into" in str(error.value)
    assert str(error.value).endswith(f"name another with {option}")
    assert not (place / "new").exists()
