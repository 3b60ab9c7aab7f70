"""What a server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

LogLevel = Literal["error", "warning", "info", "verbose"]


@dataclass(frozen=True)
class TlsFiles:
    """PEM files for TLS on the gRPC port.

    Attributes:
        certificate: The server's certificate, followed by its intermediate ones, if any.
        key: The private key of `certificate`, without a passphrase.
        client_ca: With it, TLS is mutual: only clients whose certificate it signed are answered.
        client_certificate: What our own readiness check shows as a client where TLS is mutual.
            None: the server's own pair, which then must be signed by `client_ca` as well.
        client_key: The private key of `client_certificate`.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None

    @property
    def own_client_pair(self) -> tuple[Path, Path]:
        """Certificate and key that our own readiness check shows where TLS is mutual."""
        return self.client_certificate or self.certificate, self.client_key or self.key


@dataclass(frozen=True)
class ServerSettings:
    """What an embedded server is started with.

    Every model of the repository needs a complete configuration: completing it from the model
    itself is switched off, because it starts every Python model twice.

    Attributes:
        model_repository: A folder in which every folder is a model.
        profile: Which `configs/<profile>.pbtxt` to take of every model that has one; None takes
            `config.pbtxt` throughout.
        host: IPv4 address, or a name that resolves to one, to listen on. With TLS only gRPC and
            the metrics listen there: Triton's HTTP port knows no TLS and answers inference too,
            so that it stays on the loopback address.
        http_port: Port of Triton's HTTP front; 0 asks the operating system for a free one.
        grpc_port: Port of the gRPC front; 0 as above.
        metrics_port: Port of the Prometheus metrics; 0 as above.
        log_level: The least that Triton writes.
        log_file: Where its log goes; None sends it to this process's stderr.
        tls: TLS on the gRPC port; None serves in plaintext.
        admin_key: Key for Triton's administrative protocols over gRPC and HTTP (shared memory,
            model repository, log and trace settings): visible ASCII without spaces. None makes a
            random one at every start, which nobody is told: they are closed. Triton takes the key
            by its command line, where other users of this machine may read it.
        cores: How many cores the networks share, from 1, where their configurations say that they
            do, and how many instances of a step there are that asks for one on each; None for all
            that this process may use.
        start_timeout_s: How long the server may take until the first image has gone through.
        stop_timeout_s: How long it may take to end by itself before it is killed.
    """

    model_repository: Path
    profile: str | None = None
    host: str = "127.0.0.1"
    http_port: int = 0
    grpc_port: int = 0
    metrics_port: int = 0
    log_level: LogLevel = "warning"
    log_file: Path | None = None
    tls: TlsFiles | None = None
    admin_key: str | None = field(default=None, repr=False)
    cores: int | None = None
    start_timeout_s: float = 120.0
    stop_timeout_s: float = 30.0
