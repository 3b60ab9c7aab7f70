"""Folders that are no model repository, or not one for this server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thyroid_server.errors import RepositoryError
from thyroid_server.repository import check_repository

BACKENDS = {"python", "onnxruntime"}


def write_model(folder: Path, config: str = "", version: str = "1") -> Path:
    (folder / version).mkdir(parents=True)
    (folder / "config.pbtxt").write_text(config or f'name: "{folder.name}" backend: "python"')
    return folder


@pytest.fixture
def repository_error(message_of: Any) -> Callable[..., str]:
    """Checks a repository that must fail; returns the message."""

    def check(repository: Path, profile: str | None = "cpu") -> str:
        with pytest.raises(RepositoryError) as error:
            check_repository(repository, profile, BACKENDS)
        return str(message_of(error))

    return check


def test_a_missing_repository(tmp_path: Path, repository_error: Any) -> None:
    assert "is missing" in repository_error(tmp_path / "models")


def test_a_repository_that_is_a_file(tmp_path: Path, repository_error: Any) -> None:
    file = tmp_path / "models"
    file.touch()
    assert "is not a folder" in repository_error(file)


def test_an_empty_repository(tmp_path: Path, repository_error: Any) -> None:
    (tmp_path / "README.md").touch()  # files are no models, and do no harm
    assert "holds no model" in repository_error(tmp_path)


def test_a_stray_folder(tmp_path: Path, repository_error: Any) -> None:
    write_model(tmp_path / "good")
    (tmp_path / "notes").mkdir()
    assert f"{tmp_path / 'notes'} is no model: it has no config.pbtxt" in repository_error(tmp_path)


@pytest.mark.parametrize("name", ["my model", "a;b", "$HOME", "modèle"])
def test_a_name_that_a_shell_would_change(tmp_path: Path, name: str, repository_error: Any) -> None:
    write_model(tmp_path / name, 'backend: "python"')
    assert repr(name) in repository_error(tmp_path)


def test_a_name_that_differs_from_its_folder(tmp_path: Path, repository_error: Any) -> None:
    write_model(tmp_path / "one", 'name: "two" backend: "python"')
    assert "calls itself 'two'" in repository_error(tmp_path)


def test_a_config_that_is_none(tmp_path: Path, repository_error: Any) -> None:
    write_model(tmp_path / "one", "backend = python")
    assert "config.pbtxt cannot be read: 1:9" in repository_error(tmp_path)


def test_a_model_without_a_version(tmp_path: Path, repository_error: Any) -> None:
    write_model(tmp_path / "one", 'platform: "ensemble"', version="first")
    assert "no version" in repository_error(tmp_path)


@pytest.mark.parametrize("engine", ['platform: "tensorrt_plan"', 'backend: "tensorrt"'])
def test_a_model_without_the_profile_that_it_needs(
    tmp_path: Path, engine: str, repository_error: Any
) -> None:
    model = write_model(tmp_path / "one", engine)
    message = repository_error(tmp_path)
    assert "one wants the backend 'tensorrt' and has no configs/cpu.pbtxt" in message
    (model / "configs").mkdir()
    (model / "configs" / "cpu.pbtxt").write_text('backend: "onnxruntime"')
    check_repository(tmp_path, "cpu", BACKENDS)
    assert "no profile was chosen" in repository_error(tmp_path, profile=None)


@pytest.mark.parametrize(
    "engine", ['backend: "python"', 'platform: "ensemble"', 'platform: "onnxruntime_onnx"']
)
def test_a_model_that_needs_no_profile(tmp_path: Path, engine: str) -> None:
    write_model(tmp_path / "one", engine)
    check_repository(tmp_path, "cpu", BACKENDS)
    check_repository(tmp_path, None, BACKENDS)
