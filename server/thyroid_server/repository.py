"""Checks a model repository before Triton reads it, with messages that say what to do."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from thyroid_server.errors import RepositoryError

ENSEMBLE = "ensemble"
# A config may name its engine by `platform` instead of `backend`.
_BACKEND_OF_PLATFORM = {
    "onnxruntime_onnx": "onnxruntime",
    "pytorch_libtorch": "pytorch",
    "tensorflow_savedmodel": "tensorflow",
    "tensorrt_plan": "tensorrt",
}
# Triton 2.51 passes model paths to its stub through a shell, without quotes.
_SAFE_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def check_repository(repository: Path, profile: str | None, backends: Collection[str]) -> None:
    """See that every folder of a repository is a model that a server can run.

    Args:
        repository: The folder that Triton would be given.
        profile: As in `ServerSettings`.
        backends: The backends that the server has.

    Raises:
        RepositoryError: It is no repository, or a folder in it is no such model.
    """
    if not repository.is_dir():
        raise RepositoryError(
            f"{repository} is {'not a folder' if repository.exists() else 'missing'}",
            wanted="a model repository: a folder in which every folder is a model",
            mend="name one with --model-repository, or write one: thyroid-export repository",
        )
    models = sorted(path for path in repository.iterdir() if path.is_dir())
    if not models:
        raise RepositoryError(
            f"{repository} holds no model",
            wanted="a model repository: a folder in which every folder is a model",
            mend="name another with --model-repository, or write one: thyroid-export repository",
        )
    for model in models:
        _check_model(model, profile, backends)


def _check_model(model: Path, profile: str | None, backends: Collection[str]) -> None:
    if not _SAFE_NAME.fullmatch(model.name):
        raise RepositoryError(
            f"the folder {model.name!r} in {model.parent} cannot be the name of a model",
            wanted="letters, digits, '_', '.' and '-' only",
            mend="rename it, or move it away if it is no model: Triton takes every folder for one",
        )
    config = _read_config(_config_file(model, profile))
    if config.name not in {"", model.name}:
        raise RepositoryError(
            f"the model in {model} calls itself {config.name!r}",
            wanted=f'name: "{model.name}", as its folder is called',
            mend="rename one of the two",
        )
    engine = _engine(config)
    if engine != ENSEMBLE and engine not in backends:
        file = f"configs/{profile or '<profile>'}.pbtxt"
        raise RepositoryError(
            f"the model {model.name} wants the backend {engine or '(none named)'!r}"
            f" {f'and has no {file}' if profile else 'and no profile was chosen'}",
            wanted=f"one that this server has: {', '.join(sorted(backends))}",
            mend=f"write {model / file}, or choose a profile that has one for every model"
            if profile
            else "choose one, for example --profile cpu",
        )
    if not any(path.is_dir() and path.name.isdecimal() for path in model.iterdir()):
        raise RepositoryError(
            f"the model {model.name} has no version: there is no numbered folder in {model}",
            wanted="at least one, even an empty one of an ensemble",
            mend=f"mkdir '{model / '1'}' (git keeps no empty folder: put a .gitkeep in it)",
        )


def _config_file(model: Path, profile: str | None) -> Path:
    if profile is not None:
        specific = model / "configs" / f"{profile}.pbtxt"
        if specific.is_file():
            return specific
    general = model / "config.pbtxt"
    if not general.is_file():
        raise RepositoryError(
            f"the folder {model} is no model: it has no config.pbtxt",
            wanted="a model in every folder of the repository, since Triton takes each for one",
            mend="move the folder out of the repository, or write its config.pbtxt",
        )
    return general


def _read_config(file: Path) -> model_config_pb2.ModelConfig:
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError, OSError) as error:
        raise RepositoryError(
            f"{file} cannot be read: {error}",
            wanted="a Triton model configuration in protobuf text format",
            mend="write it afresh: thyroid-export repository",
        ) from error


def _engine(config: model_config_pb2.ModelConfig) -> str:
    if config.platform == ENSEMBLE:
        return ENSEMBLE
    return str(config.backend or _BACKEND_OF_PLATFORM.get(config.platform, config.platform))
