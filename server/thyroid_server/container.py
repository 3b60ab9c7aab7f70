"""What serves the same repository in a Triton container: arguments, and the command as text."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from thyroid_pipeline import contract
from thyroid_server.admin import admin_arguments, check_admin_key
from thyroid_server.command import common_arguments, endpoints_of
from thyroid_server.errors import PortError, PreflightError
from thyroid_server.served_plans import runs_plan_code
from thyroid_server.settings import ServerSettings, TlsFiles

# Those backends of Triton's container that models of the repository may ask for.
CONTAINER_BACKENDS = frozenset({"onnxruntime", "python", "tensorrt"})
# A container is reached from outside only at an address other than its own loopback.
_EVERY_ADDRESS = "0.0.0.0"
_MODELS = Path("/models")
_TLS = Path("/tls")
_KEY_FROM_SHELL = "${THYROID_ADMIN_KEY:?give a secret of your own}"


def container_arguments(settings: ServerSettings, models: Path = _MODELS) -> list[str]:
    """The arguments of `tritonserver` in a container, but for those about the admin key.

    It listens on every address of the container, whatever `settings.host` says; with TLS the HTTP
    port stays on its loopback address, as everywhere.

    Args:
        settings: What to serve, with TLS files at their paths in the container. The repository is
            looked at here for plans that are version-compatible.
        models: The model repository, as the container sees it.
    """
    endpoints = endpoints_of(settings, _EVERY_ADDRESS)
    arguments = common_arguments(settings, models, endpoints)
    if runs_plan_code(settings.model_repository, settings.profile):
        arguments.append("--backend-config=tensorrt,version-compatible=true")
    return arguments


def container_command(settings: ServerSettings) -> str:
    """The command, as shell text: comments that say what it needs, then one line.

    Where it listens, `container_arguments` says. Without an admin key in the settings the shell
    that runs it must have one in THYROID_ADMIN_KEY.

    Args:
        settings: What to serve; the host's paths are mapped to paths in the container.

    Raises:
        PortError: A port is 0: nobody could publish it.
        PreflightError: The admin key cannot be one, or the container has not the profile's backend.
    """
    _check_profile(settings.profile)
    check_admin_key(settings.admin_key)
    for endpoint in endpoints_of(settings, _EVERY_ADDRESS):
        if endpoint.port == 0:
            raise PortError(
                f"the {endpoint.name} port for the container is 0, which means any free one",
                wanted="a port that can be published: from 1 to 65535",
                mend=f"name one: --{endpoint.name.lower()}-port",
            )
    tls, mounts = _mounted_tls(settings.tls)
    mounts = {settings.model_repository: _MODELS, **mounts}
    line = shlex.join(["tritonserver", *container_arguments(replace(settings, tls=tls))])
    if settings.admin_key is None:
        # In double quotes, so that the shell fills in the variable.
        line += "".join(f' "{argument}"' for argument in admin_arguments(_KEY_FROM_SHELL))
    else:
        line += f" {shlex.join(admin_arguments(settings.admin_key))}"
    # As literals, so that no line break in a path ends a comment.
    needs = [f"mount {str(host.resolve())!r} at {inside}" for host, inside in mounts.items()]
    needs.append("install thyroid-triton[pipeline] into the Python of the container's image")
    if settings.admin_key is None:
        needs.append("set THYROID_ADMIN_KEY in the container: it closes the admin protocols")
    return "\n".join([*(f"# {need}" for need in needs), line])


def _check_profile(profile: str | None) -> None:
    if profile == contract.RTX_PROFILE:
        raise PreflightError(
            f"the profile {profile} runs on a backend of this package, which Triton's container "
            "has not",
            wanted=f"the profile {contract.DEFAULT_PROFILE} or {contract.CPU_PROFILE}, whose "
            "backends it has",
            mend=f"serve without a container, by thyroid-serve --profile {profile}, or choose one "
            "of these with --profile",
        )


def _mounted_tls(tls: TlsFiles | None) -> tuple[TlsFiles | None, dict[Path, Path]]:
    """The TLS files at their paths in the container, and those by their paths on the host."""
    if tls is None:
        return None, {}
    certificate, key, client_ca = (_TLS / f"{name}.pem" for name in ("server", "key", "client-ca"))
    mounts = {tls.certificate: certificate, tls.key: key}
    if tls.client_ca is None:
        return TlsFiles(certificate, key), mounts
    return TlsFiles(certificate, key, client_ca), {**mounts, tls.client_ca: client_ca}
