"""As many instances of a model as there are cores.

A configuration is written once and served on machines of any size, but Triton takes a number of
instances from nowhere else. So the server is given a copy of it with another number.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from thyroid_server.core_pool import SHARE_CORES

INSTANCE_PER_CORE = "INSTANCE_PER_CORE"
"""The parameter by which a Python step asks for an instance for each core; a network that shares
cores gets as many. In capitals, as Triton's own are: it is not the step's business."""

# Each instance is a process, with all weights in it where it is a network's; beyond this many,
# requests share better by taking several cores each, and steps keep up with any one GPU.
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
        cores: How many there are, from 1.
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
    if not any(_is_on(config, name) for name in (SHARE_CORES, INSTANCE_PER_CORE)):
        return None
    groups = [group for group in config.instance_group if group.kind == ModelInstanceGroup.KIND_CPU]
    if all(group.count == count for group in groups):
        return None
    for group in groups:
        group.count = count
    return str(text_format.MessageToString(config))


def _is_on(config: ModelConfig, name: str) -> bool:
    # To ask a message's map for what it has not would put it there.
    return name in config.parameters and config.parameters[name].string_value == "1"


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
