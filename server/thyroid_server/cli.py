"""`thyroid-serve`: starts the embedded server and stays until it is told to stop."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import get_args

import click

from thyroid_server.command import container_command
from thyroid_server.embedded import EmbeddedTriton
from thyroid_server.errors import PreflightError, ServerError
from thyroid_server.settings import LogLevel, ServerSettings, TlsFiles

_DEFAULT_PROFILE = "default"
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
    default="cpu",
    help=f"Take configs/PROFILE.pbtxt of every model that has one; {_DEFAULT_PROFILE!r} takes "
    "config.pbtxt.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    help="IPv4 address to listen on. With TLS the HTTP port stays on 127.0.0.1, since Triton "
    "cannot encrypt it.",
)
@click.option("--http-port", type=int, default=8000, help="0 for any free one.")
@click.option("--grpc-port", type=int, default=8001, help="0 for any free one.")
@click.option("--metrics-port", type=int, default=8002, help="0 for any free one.")
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
    help="Print the tritonserver command for a Triton container instead.",
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
        profile=None if profile == _DEFAULT_PROFILE else profile,
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        log_level=log_level,
        tls=_tls_files(
            tls_certificate, tls_key, tls_client_ca, tls_client_certificate, tls_client_key
        ),
        start_timeout_s=start_timeout_s,
        stop_timeout_s=stop_timeout_s,
    )
    if print_command:
        click.echo(container_command(settings))
        return
    sys.exit(_serve(settings))


def _serve(settings: ServerSettings) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _request_stop)
    try:
        with EmbeddedTriton(settings) as server:
            click.echo(f"gRPC     {server.grpc_address}")
            click.echo(f"HTTP     http://{server.http_address}")
            click.echo(f"metrics  http://{server.metrics_address}/metrics")
            while (fault := server.fault()) is None:
                time.sleep(_WATCH_S)
        click.echo(f"thyroid-serve: {fault}", err=True)
    except _StopRequest:
        return 0
    except PreflightError as error:
        click.echo(f"thyroid-serve: {error}", err=True)
        return 2
    except ServerError as error:
        click.echo(f"thyroid-serve: {error}", err=True)
    return 1


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
