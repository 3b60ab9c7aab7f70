"""The compose file: what it mounts exists, what it opens is closed to others, what it names is."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from thyroid_export.cli import onnx
from thyroid_export.engine_cli import engine
from thyroid_pipeline import contract

BUILDERS = {"engines": "engines", "engines-fp16": "export"}
OURS = {"server-cpu": "cpu", "server-gpu": "gpu", **BUILDERS}


def published(service: dict[str, Any]) -> dict[str, str]:
    """Container port by what it is published as."""
    return dict(port.rsplit(":", 1) for port in service.get("ports", []))


def test_every_container_is_hardened(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        assert "user" not in service, f"{name}: the image's own user is the unprivileged one"


def test_nothing_listens_beyond_this_machine(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for host in published(service):
            assert host.startswith("127.0.0.1:"), name


def test_the_servers_publish_tritons_ports(compose: dict[str, Any], stages: dict[str, Any]) -> None:
    ports = {str(each) for each in (contract.HTTP_PORT, contract.GRPC_PORT, contract.METRICS_PORT)}
    for name in ("server-cpu", "server-gpu"):
        assert set(published(compose["services"][name]).values()) == ports
        (exposed,) = stages[OURS[name]].all("EXPOSE")
        assert set(exposed.split()) == ports


def test_only_building_plans_may_write_to_the_models(compose: dict[str, Any]) -> None:
    for name in ("server-cpu", "server-gpu"):
        assert compose["services"][name]["volumes"] == ["../model_repository:/models:ro"]
    for name in BUILDERS:
        assert compose["services"][name]["volumes"] == ["../model_repository:/models"]


def test_what_is_mounted_exists(compose: dict[str, Any], docker: Path) -> None:
    seen = 0
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                seen += 1
                assert (docker / source).exists(), f"{name}: {source}"
            else:
                assert source in compose["volumes"], f"{name}: {source}"
    assert seen >= 6


def test_what_is_built_are_stages_with_their_arguments(
    compose: dict[str, Any], stages: dict[str, Any], docker: Path
) -> None:
    for name, target in OURS.items():
        build = compose["services"][name]["build"]
        assert (docker / build["context"] / build["dockerfile"]).is_file()
        assert build["target"] == target in stages
        for argument, value in build["args"].items():
            assert value == f"${{{argument}:?see docker/versions.env}}"


def test_the_server_may_run_what_it_puts_into_its_folder(compose: dict[str, Any]) -> None:
    """Triton loads backends from there, and Docker mounts tmpfs noexec unless told otherwise."""
    for name in ("server-cpu", "server-gpu"):
        (mount,) = compose["services"][name]["tmpfs"]
        assert mount.startswith("/tmp:exec,")


def test_a_gpu_goes_to_those_that_need_one(compose: dict[str, Any]) -> None:
    with_gpu = {name for name, service in compose["services"].items() if "deploy" in service}
    assert with_gpu == {"server-gpu", *BUILDERS}


def test_profiles(compose: dict[str, Any]) -> None:
    def started(profile: str) -> set[str]:
        services = compose["services"].items()
        return {name for name, service in services if profile in service["profiles"]}

    assert started("cpu") == {"server-cpu", "prometheus", "grafana"}
    assert started("gpu") == {"server-gpu", "prometheus", "grafana"}
    assert started("build") == set(BUILDERS)


def test_half_precision_is_two_commands_that_the_image_takes(
    compose: dict[str, Any], stages: dict[str, Any]
) -> None:
    """The files between them lie where a read-only container lets them, and in no model's place."""
    service = compose["services"]["engines-fp16"]
    shell, flag, text = service["command"]
    assert (shell, flag) == ("sh", "-c")
    first, second = (shlex.split(each) for each in text.split(" && "))
    assert (first[:2], second[:2]) == (["thyroid-export", "onnx"], ["thyroid-export", "engine"])
    made = onnx.make_context("onnx", first[2:]).params
    built = engine.make_context("engine", second[2:]).params
    assert made["precision"] == "fp16"
    assert made["out"] == built["model_repository"]
    assert service["tmpfs"] == ["/tmp:exec,mode=1777"]
    assert made["out"].parts[:2] == ("/", "tmp")
    assert made["model_repository"] == built["out"] == Path("/models")
    assert built["runtime_name"] == "tensorrt"
    # torch is in that stage alone: `onnx` wants it, `engine` does not.
    assert any("[export]" in step for step in stages["export"].all("RUN"))


def test_grafana_fetches_nothing(compose: dict[str, Any]) -> None:
    environment = compose["services"]["grafana"]["environment"]
    assert environment["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"


@pytest.mark.parametrize("profile", ["cpu", "gpu", "build"])
def test_compose_itself_accepts_it(
    docker: Path, versions: dict[str, str], tmp_path: Path, profile: str
) -> None:
    command = compose_command()
    if command is None:
        pytest.skip("neither `docker compose` nor `docker-compose` is installed here")
    file = docker / "compose.yaml"
    if command == ["docker-compose"]:
        # Version 1 knows no `name` of a project; it is the only thing here that it does not.
        older = file.read_text().replace("\nname: thyroid\n", "\n")
        file = tmp_path / "compose.yaml"
        file.write_text(older)
    arguments = ["--project-directory", str(docker), "--file", str(file), "--profile", profile]
    done = subprocess.run(
        [*command, *arguments, "config", "--quiet"],
        env={**os.environ, **versions},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def compose_command() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        if subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            return command
    return None


def test_hadolint_has_nothing_to_say(docker: Path) -> None:
    linter = Path(sys.executable).with_name("hadolint")  # of the extra `dev`
    done = subprocess.run(
        [linter, docker / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_images_run_as_nobody_in_particular(stages: dict[str, Any]) -> None:
    for name in ("cpu", "gpu", "engines", "export"):
        assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", stages[name].all("USER")[-1]), name


def test_what_is_copied_is_let_through(stages: dict[str, Any], docker: Path) -> None:
    """The build's context is a short list; a file that is copied must be on it, and exist."""
    allowed = (docker / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in allowed, "everything else stays out: weights, data, the .venv"
    for line in allowed:
        if line.startswith("!"):
            assert (docker.parent / line[1:]).exists(), line
    for stage in stages.values():
        for copy in stage.all("COPY"):
            for word in copy.split()[:-1]:
                if word.startswith("docker/"):
                    assert f"!{word}" in allowed
