"""Checks the plans of the mounted repository, then becomes the container's own tritonserver.

The arguments are those that `thyroid-serve --print-command` shows, but for the repository: Triton
is given links into it, with an instance of each Python step for each core. THYROID_ADMIN_KEY opens
the administrative protocols to whoever has it; without it they are closed by a random key.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from thyroid_pipeline import contract
from thyroid_server.admin import admin_arguments, check_admin_key, random_admin_key
from thyroid_server.container import CONTAINER_BACKENDS, container_arguments
from thyroid_server.cores import usable_cores
from thyroid_server.errors import ServerError
from thyroid_server.instances import link_models
from thyroid_server.plan_check import PlanError
from thyroid_server.repository import check_repository
from thyroid_server.served_plans import check_served_plans
from thyroid_server.settings import ServerSettings

# Of docs/deploy.md: this image has no builder, and its repository cannot be written to.
_BUILD = 'docker compose run --build --rm --user "$(id -u):$(id -g)"'
_SERVICE, _HALF_SERVICE = "engines", "engines-fp16"


def main(repository: Path = Path("/models")) -> NoReturn:
    """Exit code 2: something must be put right first; nothing was started."""
    key = os.environ.get("THYROID_ADMIN_KEY") or random_admin_key()
    settings = ServerSettings(
        model_repository=repository,
        http_port=contract.HTTP_PORT,
        grpc_port=contract.GRPC_PORT,
        metrics_port=contract.METRICS_PORT,
    )
    try:
        check_admin_key(key)
        check_repository(repository, settings.profile, CONTAINER_BACKENDS)
        check_served_plans(repository, settings.profile)
    except ServerError as error:
        told = _for_the_host(error) if isinstance(error, PlanError) else error
        print(f"serve_gpu: {told}", file=sys.stderr)
        sys.exit(2)
    models = Path(tempfile.mkdtemp(prefix="thyroid-models-")) / "models"
    link_models(models, repository.resolve(), settings.profile, usable_cores())
    command = ["tritonserver", *container_arguments(settings, models), *admin_arguments(key)]
    # The child has no need of the key's variable: Triton takes it by its command line.
    os.environ.pop("THYROID_ADMIN_KEY", None)
    os.execvp(command[0], command)


def _for_the_host(error: PlanError) -> PlanError:
    """The same, with the command by which the host's compose file builds the plan again."""
    rebuild = error.rebuild
    if rebuild is not None and rebuild.half is not None:
        command = f"{_BUILD} {_HALF_SERVICE}"
    elif rebuild is not None and rebuild.as_before:
        command = f"{_BUILD} {_SERVICE} {rebuild.command}"
    else:
        command = f"{_BUILD} {_SERVICE}"
    mend = f"on the host, after the `export` line of docs/deploy.md, build it again: {command}"
    return PlanError(error.came, wanted=error.wanted, mend=mend)


if __name__ == "__main__":
    main()
