"""The command line of tritonserver for given settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from thyroid_server.admin import admin_arguments
from thyroid_server.machine import has_gpu
from thyroid_server.ports import Endpoint
from thyroid_server.settings import LogLevel, ServerSettings, TlsFiles
from thyroid_server.workspace import Workspace

LOOPBACK = "127.0.0.1"
_LEVELS: tuple[LogLevel, ...] = ("error", "warning", "info", "verbose")


def endpoints_of(settings: ServerSettings, address: str) -> tuple[Endpoint, Endpoint, Endpoint]:
    """Where a server listens: its HTTP, gRPC and metrics endpoints.

    Args:
        settings: What was asked for.
        address: The IPv4 address of `settings.host`.
    """
    # Triton's HTTP front knows no TLS: beside an encrypted gRPC port it stays on this machine.
    http_address = address if settings.tls is None else LOOPBACK
    return (
        Endpoint("HTTP", http_address, settings.http_port),
        Endpoint("gRPC", address, settings.grpc_port),
        Endpoint("metrics", address, settings.metrics_port),
    )


def common_arguments(
    settings: ServerSettings, repository: Path, endpoints: Sequence[Endpoint]
) -> list[str]:
    """The arguments that an embedded server and one in a container have in common.

    Args:
        settings: What was asked for.
        repository: The model repository, as the server sees it.
        endpoints: HTTP, gRPC and metrics.
    """
    http, grpc, metrics = endpoints
    arguments = [
        f"--model-repository={repository}",
        "--exit-on-error=true",
        "--disable-auto-complete-config",
        f"--exit-timeout-secs={math.ceil(settings.stop_timeout_s)}",
        f"--http-address={http.address}",
        f"--http-port={http.port}",
        f"--grpc-address={grpc.address}",
        f"--grpc-port={grpc.port}",
        f"--metrics-address={metrics.address}",
        f"--metrics-port={metrics.port}",
        *_log_arguments(settings.log_level),
    ]
    if settings.profile is not None:
        arguments.append(f"--model-config-name={settings.profile}")
    if settings.tls is not None:
        arguments += _tls_arguments(settings.tls)
    return arguments


def embedded_arguments(
    settings: ServerSettings,
    workspace: Workspace,
    endpoints: Sequence[Endpoint],
    shm_prefix: str,
    admin_key: str,
) -> list[str]:
    """The arguments of an embedded server, without the name of the program.

    Args:
        settings: What was asked for.
        workspace: The server's private folder.
        endpoints: HTTP, gRPC and metrics, with real ports.
        shm_prefix: What the name of each of its shared memory files begins with.
        admin_key: What the administrative protocols want to see.
    """
    return [
        *common_arguments(settings, workspace.models, endpoints),
        *admin_arguments(admin_key),
        f"--allow-gpu-metrics={str(has_gpu()).lower()}",
        f"--backend-directory={workspace.backends}",
        # The Python-based backends use the Python backend's setting.
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
    ]


def _log_arguments(level: LogLevel) -> list[str]:
    rank = _LEVELS.index(level)
    return [
        "--log-error=true",
        f"--log-warning={str(rank >= 1).lower()}",
        f"--log-info={str(rank >= 2).lower()}",
        f"--log-verbose={int(rank >= 3)}",
    ]


def _tls_arguments(tls: TlsFiles) -> list[str]:
    arguments = [
        "--grpc-use-ssl=true",
        f"--grpc-server-cert={tls.certificate.absolute()}",
        f"--grpc-server-key={tls.key.absolute()}",
    ]
    if tls.client_ca is not None:
        arguments += [
            "--grpc-use-ssl-mutual=true",
            f"--grpc-root-cert={tls.client_ca.absolute()}",
        ]
    return arguments
