"""As many instances of a model as there are cores to share.

A configuration is written once and served on machines of any size, but Triton takes a number of
instances from nowhere else. So the server is given a copy of it with another number.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from thyroid_server.core_pool import SHARE_CORES

# Each instance is a process with all weights in it; beyond this many, requests share better by
# taking several cores each.
MOST_INSTANCES = 16
# On one core, too: with a single instance behind a bounded queue Triton loses half seconds.
LEAST_INSTANCES = 2


def link_models(target: Path, repository: Path, profile: str | None, cores: int) -> None:
    """Make a model repository of links into another, with an instance for each core, at least two.

    Args:
        target: Becomes a link to `repository` where every configuration fits as it is; a folder
            otherwise.
        repository: The model repository, by its absolute path.
        profile: As in `ServerSettings`.
        cores: How many the networks share, from 1.
    """
    changed = {}
    for model in sorted(path for path in repository.iterdir() if path.is_dir()):
        file = _config_file(model, profile)
        text = _text_for(file.read_text(encoding="utf-8"), _instances(cores))
        if text is not None:
            changed[file.relative_to(repository)] = text
    if not changed:
        target.symlink_to(repository, target_is_directory=True)
        return
    _link_around(target, repository, set(changed))
    for name, text in changed.items():
        (target / name).write_text(text, encoding="utf-8")


def _instances(cores: int) -> int:
    return max(LEAST_INSTANCES, min(cores, MOST_INSTANCES))


def _config_file(model: Path, profile: str | None) -> Path:
    specific = model / "configs" / f"{profile}.pbtxt"
    return specific if profile is not None and specific.is_file() else model / "config.pbtxt"


def _text_for(text: str, count: int) -> str | None:
    """The configuration for so many instances; None where nothing needs to be changed."""
    config = text_format.Parse(text, ModelConfig())
    if config.parameters[SHARE_CORES].string_value != "1":
        return None
    groups = [group for group in config.instance_group if group.kind == ModelInstanceGroup.KIND_CPU]
    if all(group.count == count for group in groups):
        return None
    for group in groups:
        group.count = count
    return str(text_format.MessageToString(config))


def _link_around(target: Path, source: Path, left_out: set[Path]) -> None:
    """Make a folder of links to what a folder holds, but for some files deep in it."""
    target.mkdir()
    heads = {path.parts[0] for path in left_out}
    for entry in source.iterdir():
        if entry.name not in heads:
            (target / entry.name).symlink_to(entry, target_is_directory=entry.is_dir())
        elif entry.is_dir():
            below = {Path(*path.parts[1:]) for path in left_out if path.parts[0] == entry.name}
            _link_around(target / entry.name, entry, below)
