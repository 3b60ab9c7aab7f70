"""Writing the model repository from the contract, and finding where it has drifted."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from thyroid_export.model_config import config_text
from thyroid_export.profiles import SERVING
from thyroid_export.warmup_files import WARMUP_FILES, WARMUP_FOLDER
from thyroid_pipeline import contract


def generated_files() -> dict[str, bytes]:
    """Every generated file of the repository: path within it to content."""
    files: dict[str, bytes] = {}
    for model in contract.MODELS:
        for profile in SERVING:
            name = (
                "config.pbtxt"
                if profile == contract.DEFAULT_PROFILE
                else f"configs/{profile}.pbtxt"
            )
            files[f"{model.name}/{name}"] = config_text(model, profile).encode()
    for (model_name, tensor_name), content in WARMUP_FILES.items():
        files[f"{model_name}/{WARMUP_FOLDER}/{tensor_name}"] = content()
    # Triton wants a version's folder of an ensemble too, and git keeps no empty one.
    files[f"{contract.ENSEMBLE.name}/{contract.MODEL_VERSION}/.gitkeep"] = b""
    return files


def write_repository(repository: Path) -> list[str]:
    """Write every generated file, and the version's folder of each model.

    Args:
        repository: The model repository; made if it does not exist.

    Returns:
        The paths written, within the repository.
    """
    files = generated_files()
    for name, content in files.items():
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for model in contract.MODELS:
        (repository / model.name / contract.MODEL_VERSION).mkdir(exist_ok=True)
    return sorted(files)


def find_drift(repository: Path) -> str:
    """Compare the generated files with those in a repository.

    Args:
        repository: The model repository.

    Returns:
        A unified diff, from what is there to what the contract asks for; empty where all agree.
        A config or warm-up file that nothing writes any more, and a folder that is no model's, are
        named in it, too.
    """
    files = generated_files()
    diffs = [_diff(name, repository / name, content) for name, content in files.items()]
    return "".join([*diffs, *_strays(repository, set(files))])


def _strays(repository: Path, generated: set[str]) -> Iterator[str]:
    models = {model.name for model in contract.MODELS}
    for folder in sorted(path for path in repository.glob("*") if path.is_dir()):
        if folder.name not in models:
            yield f"{folder.name}/ is no model of the contract, and Triton takes it for one\n"
            continue
        for pattern in ("*.pbtxt", "configs/*", f"{WARMUP_FOLDER}/*"):
            for path in sorted(folder.glob(pattern)):
                name = path.relative_to(repository).as_posix()
                if name not in generated:
                    yield f"{name} is there, but nothing writes it: remove it\n"


def _diff(name: str, path: Path, wanted: bytes) -> str:
    if not path.is_file():
        return f"{name} is missing\n"
    found = path.read_bytes()
    if found == wanted:
        return ""
    if path.suffix != ".pbtxt":
        return f"{name} differs: {len(found)} bytes are there, {len(wanted)} others are wanted\n"
    before = found.decode(errors="replace").splitlines(True)
    after = wanted.decode().splitlines(True)
    return "".join(difflib.unified_diff(before, after, f"{name} (there)", f"{name} (contract)"))
