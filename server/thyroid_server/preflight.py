"""Every check that can be made before a server is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from thyroid_pipeline import contract
from thyroid_pipeline.plan_manifest import Runtime
from thyroid_server.admin import check_admin_key
from thyroid_server.command import endpoints_of
from thyroid_server.errors import PreflightError
from thyroid_server.interpreter import (
    check_libraries,
    check_stub,
    find_libpython,
    stub_environment,
)
from thyroid_server.ports import PortReservation, resolve
from thyroid_server.repository import check_repository
from thyroid_server.served_plans import Planned, check_served_plans
from thyroid_server.settings import ServerSettings
from thyroid_server.tls import check_tls
from thyroid_server.wheel import TritonWheel, find_wheel
from thyroid_server.workspace import backend_names


@dataclass(frozen=True)
class Preparation:
    """What the checks found, for the start that follows.

    Attributes:
        wheel: The installed wheel.
        environment: The environment variables for the server and its stubs.
        ports: The ports taken; whoever gets this releases them.
    """

    wheel: TritonWheel
    environment: dict[str, str]
    ports: PortReservation


def prepare(settings: ServerSettings) -> Preparation:
    """Check everything that can be checked, the cheap and likely faults first.

    Raises:
        PreflightError: The first check that failed, by its own type.
    """
    planned = _check_plans(settings)
    check_repository(settings.model_repository, settings.profile, backend_names())
    if settings.tls is not None:
        check_tls(settings.tls)
    check_admin_key(settings.admin_key)
    if settings.log_file is not None:
        _check_log_file(settings.log_file)
    wheel = find_wheel()
    environment = stub_environment(wheel, find_libpython())
    check_stub(wheel.stub, environment)
    check_libraries(environment, runs_plans=Runtime.RTX in planned)
    ports = PortReservation(endpoints_of(settings, resolve(settings.host)))
    return Preparation(wheel, environment, ports)


def _check_plans(settings: ServerSettings) -> Planned:
    planned = check_served_plans(settings.model_repository, settings.profile)
    if Runtime.TENSORRT in planned:
        names = ", ".join(model.name for model in planned[Runtime.TENSORRT])
        raise PreflightError(
            f"{names} would run from TensorRT plans, which this machine can serve, but the "
            "embedded server has no TensorRT",
            wanted="Triton's own container, or a profile that the embedded server has",
            mend=f"run there what `thyroid-serve --profile {contract.DEFAULT_PROFILE} "
            "--print-command` prints, or choose a profile, for example --profile cpu",
        )
    return planned


def _check_log_file(file: Path) -> None:
    try:
        file.open("ab").close()
    except OSError as error:
        raise PreflightError(
            f"the log file {file} cannot be written: {error.strerror}",
            wanted="a file in a folder that exists and may be written to",
            mend="create the folder, or name another file",
        ) from error
