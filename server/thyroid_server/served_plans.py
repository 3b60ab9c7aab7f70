"""Which models of a repository run from plans, and whether this machine can serve them.

The embedded server asks before it starts. In Triton's container, which starts `tritonserver`
itself, the same check is a command in front of it:

```
python -m thyroid_server.served_plans --model-repository /models && tritonserver ...
```
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from thyroid_pipeline import contract
from thyroid_pipeline.plan_machine import Machine, read_machine
from thyroid_pipeline.plan_manifest import (
    PlanRecordError,
    Runtime,
    plan_path,
    read_record,
    record_path,
)
from thyroid_server.errors import PreflightError
from thyroid_server.plan_check import check_plans

Planned = dict[Runtime, list[contract.Model]]


def find_planned(repository: Path, profile: str | None) -> Planned:
    """The networks that a profile serves from plans, by the runtime that runs them.

    Args:
        repository: The model repository.
        profile: As in `ServerSettings`.

    Returns:
        Nothing where there is none. A model whose config is missing or no config is left out:
        `check_repository` speaks of it.
    """
    planned: Planned = {}
    for model in contract.NETWORKS:
        runtime = _runtime_of(repository / model.name, profile)
        if runtime is not None:
            planned.setdefault(runtime, []).append(model)
    return planned


def _runtime_of(model: Path, profile: str | None) -> Runtime | None:
    files = [model / "config.pbtxt"]
    if profile is not None:
        files.insert(0, model / "configs" / f"{profile}.pbtxt")
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return None
    try:
        config = text_format.Parse(file.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError, OSError):
        return None
    if config.platform == "tensorrt_plan" or config.backend == "tensorrt":
        return Runtime.TENSORRT
    return Runtime.RTX if config.default_model_filename == Runtime.RTX.plan_file else None


def runs_plan_code(repository: Path, profile: str | None) -> bool:
    """Whether a plan of TensorRT that a profile serves is version-compatible.

    Such a plan carries code of its own, which Triton runs only where it is told to.

    Args:
        repository: The model repository.
        profile: As in `ServerSettings`.

    Returns:
        False also of plans without a readable record: `check_served_plans` speaks of them.
    """
    for model in find_planned(repository, profile).get(Runtime.TENSORRT, []):
        try:
            record = read_record(record_path(plan_path(repository, model.name, Runtime.TENSORRT)))
        except (FileNotFoundError, PlanRecordError):
            continue
        if record.version_compatible:
            return True
    return False


def check_served_plans(
    repository: Path, profile: str | None, machine: Machine | None = None
) -> Planned:
    """See that every plan that a profile serves is whole, up to date and for this machine.

    Args:
        repository: The model repository.
        profile: As in `ServerSettings`.
        machine: The machine that shall serve; None asks this one, where there are plans at all.

    Returns:
        What `find_planned` found.

    Raises:
        PlanError: The first plan that cannot be served.
        PreflightError: The machine has no GPU, or not the library.
    """
    planned = find_planned(repository, profile)
    if not planned:
        return planned
    here = machine or read_machine()
    for runtime, models in planned.items():
        check_plans(repository, here, runtime=runtime, models=models)
    return planned


@click.command()
@click.option(
    "--model-repository",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the models.",
)
@click.option(
    "--profile",
    default=contract.DEFAULT_PROFILE,
    show_default=True,
    help="As of thyroid-serve.",
)
def main(*, model_repository: Path, profile: str) -> None:
    """Check that this machine can serve the plans of a repository, and say which they are.

    Exit code 0: it can, or none is served. 2: a plan, or the machine, must be put right first.
    """
    try:
        planned = check_served_plans(
            model_repository, None if profile == contract.DEFAULT_PROFILE else profile
        )
    except PreflightError as error:
        click.echo(f"thyroid-serve: {error}", err=True)
        sys.exit(2)
    for runtime, models in planned.items():
        names = ", ".join(model.name for model in models)
        click.echo(f"{runtime.label} can serve {names} here")
    if not planned:
        click.echo(f"the profile {profile} serves no plan")


if __name__ == "__main__":
    main()
