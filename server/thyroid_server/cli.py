"""`thyroid-serve`: starts the embedded server and stays until it is told to stop."""

from __future__ import annotations

import ipaddress
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, get_args

import click

from thyroid_pipeline import contract
from thyroid_server.container import container_command
from thyroid_server.errors import LibraryError, PreflightError, ServerError
from thyroid_server.ports import resolve
from thyroid_server.settings import LogLevel, ServerSettings, TlsFiles

if TYPE_CHECKING:
    from thyroid_server.embedded import EmbeddedTriton

_REPOSITORY = "model_repository"
_WATCH_S = 0.5
_FILE = click.Path(dir_okay=False, path_type=Path)


class _StopRequest(BaseException):
    """Somebody wants the server to stop; like KeyboardInterrupt no `except Exception` stops it."""


@click.command(context_settings={"show_default": True, "max_content_width": 100})
@click.option(
    "--model-repository",
    type=click.Path(path_type=Path),
    envvar="THYROID_MODEL_REPOSITORY",
    show_envvar=True,
    help="Folder of the models.  [default: the nearest model_repository, from here upwards]",
)
@click.option(
    "--profile",
    default=contract.CPU_PROFILE,
    help="Take configs/PROFILE.pbtxt of every model that has one; "
    f"{contract.DEFAULT_PROFILE!r} takes config.pbtxt.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    help="IPv4 address to listen on. The metrics are plaintext there, and without TLS gRPC and "
    "HTTP are, too. With TLS the HTTP port stays on 127.0.0.1, since Triton cannot encrypt it.",
)
@click.option("--http-port", type=int, default=contract.HTTP_PORT, help="0 for any free one.")
@click.option("--grpc-port", type=int, default=contract.GRPC_PORT, help="0 for any free one.")
@click.option("--metrics-port", type=int, default=contract.METRICS_PORT, help="0 for any free one.")
@click.option("--log-level", type=click.Choice(get_args(LogLevel)), default="warning")
@click.option("--tls-certificate", type=_FILE, help="PEM; serves gRPC with TLS.")
@click.option("--tls-key", type=_FILE, help="PEM; the certificate's private key.")
@click.option("--tls-client-ca", type=_FILE, help="PEM; answer only clients that it signed.")
@click.option(
    "--tls-client-certificate",
    type=_FILE,
    help="PEM; what the readiness check shows, where --tls-client-ca did not sign the server's.",
)
@click.option("--tls-client-key", type=_FILE, help="PEM; that certificate's private key.")
@click.option(
    "--admin-key",
    envvar="THYROID_ADMIN_KEY",
    show_envvar=True,
    help="Key for Triton's administrative protocols (shared memory, model repository, log and "
    "trace settings), sent as the header admin-key over HTTP and triton-grpc-protocol-admin-key "
    "over gRPC. The variable keeps it out of this command's line, but Triton itself takes it by "
    "command line, where other users of this machine may read it.  [default: a random one, which "
    "nobody is told: they are closed]",
)
@click.option(
    "--start-timeout-s",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    help="Longest wait for the first image to go through.",
)
@click.option(
    "--stop-timeout-s",
    type=click.FloatRange(min=0),
    default=30.0,
    help="Longest wait for the server's own end, before it is killed.",
)
@click.option(
    "--print-command",
    is_flag=True,
    help="Print the tritonserver command for a Triton container instead, and what it needs "
    "there. It listens on every address of the container, whatever --host says.",
)
def main(
    *,
    model_repository: Path | None,
    profile: str,
    host: str,
    http_port: int,
    grpc_port: int,
    metrics_port: int,
    log_level: LogLevel,
    tls_certificate: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    tls_client_certificate: Path | None,
    tls_client_key: Path | None,
    admin_key: str | None,
    start_timeout_s: float,
    stop_timeout_s: float,
    print_command: bool,
) -> None:
    """Serve the screening of thyroid ultrasound on a real Triton Inference Server.

    Prints where it listens once an image has gone through, and runs until SIGINT (Ctrl-C) or
    SIGTERM. Exit code 0: it was told to stop. 1: it did not start, or broke down. 2: something
    must be put right first; nothing was started.
    """
    settings = ServerSettings(
        model_repository=model_repository or _nearest_repository(),
        profile=None if profile == contract.DEFAULT_PROFILE else profile,
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        log_level=log_level,
        tls=_tls_files(
            tls_certificate, tls_key, tls_client_ca, tls_client_certificate, tls_client_key
        ),
        admin_key=admin_key,
        start_timeout_s=start_timeout_s,
        stop_timeout_s=stop_timeout_s,
    )
    try:
        if print_command:
            click.echo(container_command(settings))
            return
        sys.exit(_serve(settings))
    except ServerError as error:
        click.echo(f"thyroid-serve: {error}", err=True)
        sys.exit(2 if isinstance(error, PreflightError) else 1)


def _serve(settings: ServerSettings) -> int:
    if warning := _exposure(settings):
        click.echo(f"thyroid-serve: warning: {warning}", err=True)
    server_class = _embedded_triton()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _request_stop)
    try:
        with server_class(settings) as server:
            click.echo(f"gRPC     {server.grpc_address}")
            click.echo(f"HTTP     http://{server.http_address}")
            click.echo(f"metrics  http://{server.metrics_address}/metrics")
            while (fault := server.fault()) is None:
                time.sleep(_WATCH_S)
        click.echo(f"thyroid-serve: {fault}", err=True)
    except _StopRequest:
        return 0
    return 1


def _embedded_triton() -> type[EmbeddedTriton]:
    """The server's class, whose imports need more than the client's installation has.

    Raises:
        LibraryError: A library is missing.
    """
    try:
        from thyroid_server.embedded import EmbeddedTriton  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise LibraryError(
            f"{sys.executable} has no module {error.name}",
            wanted="the libraries that a server needs and a client does not",
            mend=f"{sys.executable} -m pip install 'thyroid-triton[server]'",
        ) from error
    return EmbeddedTriton


def _exposure(settings: ServerSettings) -> str | None:
    """What strangers on the network can reach, in one line; None where they reach nothing.

    Raises:
        PortError: The host has no address.
    """
    address = ipaddress.ip_address(resolve(settings.host))
    mutual = settings.tls is not None and settings.tls.client_ca is not None
    if address.is_loopback or mutual:
        return None
    fronts = "gRPC and HTTP, in plaintext," if settings.tls is None else "gRPC"
    return (
        f"whoever reaches {address} may use {fronts} and read the metrics; "
        "--tls-client-ca admits to gRPC only clients with a certificate, and keeps HTTP on "
        "this machine"
    )


def _request_stop(_number: int, _frame: FrameType | None) -> None:
    # Once is enough: a second signal must not interrupt the clearing away.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise _StopRequest


def _nearest_repository() -> Path:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / _REPOSITORY).is_dir():
            return folder / _REPOSITORY
    raise click.UsageError(
        f"there is no {_REPOSITORY} in {here} or above; name one with --model-repository"
    )


def _tls_files(
    certificate: Path | None,
    key: Path | None,
    client_ca: Path | None,
    client_certificate: Path | None,
    client_key: Path | None,
) -> TlsFiles | None:
    if certificate is not None and key is not None:
        return TlsFiles(certificate, key, client_ca, client_certificate, client_key)
    if any((certificate, key, client_ca, client_certificate, client_key)):
        raise click.UsageError("TLS needs at least --tls-certificate and --tls-key")
    return None
