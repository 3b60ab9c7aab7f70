"""The start of the GPU's image: what Triton is given, and what is said where it is not started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from made_up_plans import NETWORKS, make_planned, write_plan
from thyroid_pipeline import contract
from thyroid_pipeline.plan_manifest import Runtime, plan_path


@pytest.fixture
def planned(tmp_path: Path, model_repository: Path) -> Path:
    return make_planned(tmp_path / "models", model_repository)


def start_gpu_image(docker: Path, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run `serve_gpu.main` where `tritonserver` is a script that prints its arguments."""
    triton = folder / "tritonserver"
    triton.write_text('#!/bin/sh\nprintf "%s\\n" "$@"; echo "key=$THYROID_ADMIN_KEY"\n')
    triton.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    folders = [str(docker), str(docker.parent / "tests" / "helpers")]
    program = f"import sys; sys.path[:0] = {folders}; import serve_gpu; {code}"
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PATH": path, "THYROID_ADMIN_KEY": "sesame"},
        capture_output=True,
        text=True,
        check=False,
    )


def start_with(docker: Path, folder: Path, repository: Path) -> list[str]:
    """What Triton is started with by the GPU image on a machine whose plans fit, of five cores."""
    code = (
        "from pathlib import Path; serve_gpu.check_served_plans = lambda *_: None; "
        f"serve_gpu.usable_cores = lambda: 5; serve_gpu.main(Path({str(repository)!r}))"
    )
    done = start_gpu_image(docker, folder, code)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_gpu_image_starts_triton_with_our_command(
    docker: Path, tmp_path: Path, planned: Path
) -> None:
    arguments = start_with(docker, tmp_path, planned)
    assert {"--grpc-address=0.0.0.0", "--grpc-port=8001", "--exit-on-error=true"} <= set(arguments)
    assert not any("version-compatible" in argument for argument in arguments)
    assert any(line.endswith(":admin-key=sesame") for line in arguments)
    assert not any(line.startswith("--model-config-name") for line in arguments)
    assert arguments[-1] == "key="


def test_the_gpu_image_serves_the_repository_with_steps_for_each_core(
    docker: Path, tmp_path: Path, planned: Path
) -> None:
    (argument,) = [
        line
        for line in start_with(docker, tmp_path, planned)
        if line.startswith("--model-repository=")
    ]
    models = Path(argument.partition("=")[2])
    try:
        counts = {}
        for model in contract.STEPS:
            text = (models / model.name / "config.pbtxt").read_text()
            counts[model.name] = text_format.Parse(text, ModelConfig()).instance_group[0].count
            assert (models / model.name / "1").samefile(planned / model.name / "1")
        assert counts == {
            "frame_decoder": 5,
            "transunet": 1,
            "roi_cropper": 5,
            "resnet18": 1,
            "morphology_forest": 1,
        }
    finally:
        shutil.rmtree(models.parent)


def test_the_gpu_image_lets_triton_run_the_code_of_version_compatible_plans(
    docker: Path, tmp_path: Path, planned: Path
) -> None:
    write_plan(planned, "resnet18", version_compatible=True)
    arguments = start_with(docker, tmp_path, planned)
    assert "--backend-config=tensorrt,version-compatible=true" in arguments


def refused(docker: Path, folder: Path, repository: Path) -> str:
    """What the GPU image says on the L4 as it does not start, in three lines."""
    code = (
        "from pathlib import Path; from made_up_plans import *; "
        "import thyroid_server.served_plans as served; "
        'served.read_machine = lambda: Machine((L4,), "13.0", VERSIONS); '
        f"serve_gpu.main(Path({str(repository)!r}))"
    )
    done = start_gpu_image(docker, folder, code)
    assert (done.returncode, done.stdout) == (2, "")
    came, wanted, mend = done.stderr.splitlines()
    assert came.startswith("serve_gpu: ")
    assert wanted.startswith("  wanted: ")
    assert mend.startswith("  to mend it: ")
    return mend


def told_to_build(checkout: Path) -> list[str]:
    """The commands of docs/deploy.md that build plans."""
    text = (checkout / "docs" / "deploy.md").read_text()
    found = re.findall(r"^docker compose run .* engines.*$", text, re.MULTILINE)
    assert len(found) == 2
    return found


def test_without_plans_the_gpu_image_names_the_document_s_command(
    docker: Path, tmp_path: Path, planned: Path, checkout: Path
) -> None:
    for name in NETWORKS:
        plan_path(planned, name, Runtime.TENSORRT).unlink()
    mend = refused(docker, tmp_path, planned)
    assert mend.endswith(f", build it again: {told_to_build(checkout)[0]}")
    assert "thyroid-export" not in mend  # which is not in that image


def test_a_plan_in_half_precision_is_built_again_by_the_service_that_can(
    docker: Path, tmp_path: Path, planned: Path, checkout: Path
) -> None:
    plan = write_plan(planned, "transunet", precision="fp32+fp16", onnx_sha256="d" * 64)
    plan.write_bytes(b"cut")
    mend = refused(docker, tmp_path, planned)
    assert mend.endswith(f", build it again: {told_to_build(checkout)[1]}")


def test_a_plan_is_built_again_with_the_options_it_had(
    docker: Path, tmp_path: Path, planned: Path, checkout: Path
) -> None:
    write_plan(planned, "transunet", version_compatible=True).write_bytes(b"cut")
    mend = refused(docker, tmp_path, planned)
    command = f"{told_to_build(checkout)[0]} thyroid-export engine --model-repository {planned} "
    assert command in mend
    assert mend.endswith(" --version-compatible")


def test_the_gpu_image_does_not_start_without_plans(
    docker: Path, tmp_path: Path, model_repository: Path
) -> None:
    code = f"from pathlib import Path; serve_gpu.main(Path({str(model_repository)!r}))"
    done = start_gpu_image(docker, tmp_path, code)
    assert done.returncode == 2
    assert done.stderr.startswith("serve_gpu: ")
    assert not done.stdout


def test_the_gpu_image_does_not_start_without_models(docker: Path, tmp_path: Path) -> None:
    code = 'from pathlib import Path; serve_gpu.main(Path("/nowhere"))'
    done = start_gpu_image(docker, tmp_path, code)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("serve_gpu: /nowhere is missing\n")
