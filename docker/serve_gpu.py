"""Checks the plans of the mounted repository, then becomes the container's own tritonserver.

The command is the one that `thyroid-serve --print-command` shows. THYROID_ADMIN_KEY opens the
administrative protocols to whoever has it; without it they are closed by a random key.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import NoReturn

from thyroid_pipeline import contract
from thyroid_server.admin import random_admin_key
from thyroid_server.container import container_command
from thyroid_server.errors import ServerError
from thyroid_server.served_plans import check_served_plans
from thyroid_server.settings import ServerSettings


def main(repository: Path = Path("/models")) -> NoReturn:
    """Exit code 2: something must be put right first; nothing was started."""
    settings = ServerSettings(
        model_repository=repository,
        http_port=contract.HTTP_PORT,
        grpc_port=contract.GRPC_PORT,
        metrics_port=contract.METRICS_PORT,
        admin_key=os.environ.get("THYROID_ADMIN_KEY") or random_admin_key(),
    )
    try:
        check_served_plans(repository, settings.profile)
        # The last line is the command; those before say what the container needs, and has.
        command = shlex.split(container_command(settings).splitlines()[-1])
    except ServerError as error:
        print(f"serve_gpu: {error}", file=sys.stderr)
        sys.exit(2)
    # The child has no need of the key's variable: Triton takes it by its command line.
    os.environ.pop("THYROID_ADMIN_KEY", None)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
