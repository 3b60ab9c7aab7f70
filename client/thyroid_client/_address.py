"""Addresses of servers as people write them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from thyroid_client.options import Tls
from thyroid_pipeline import contract

DEFAULT_ADDRESS = f"localhost:{contract.GRPC_PORT}"


@dataclass(frozen=True)
class Address:
    """Where the server is, and how to speak to it.

    Attributes:
        target: host:port as gRPC takes it.
        tls: How to encrypt; None for plain text.
    """

    target: str
    tls: Tls | None

    def __str__(self) -> str:
        return f"{'grpc' if self.tls is None else 'grpcs'}://{self.target}"


def parse_address(text: str, tls: Tls | None) -> Address:
    """Read an address.

    Args:
        text: `host`, `host:port`, `grpc://host:port` (plain text) or `grpcs://host:port` (TLS). An
            IPv6 host stands in brackets.
        tls: TLS options. Where given, an address without a scheme means TLS; where not, `grpcs://`
            trusts the authorities that gRPC ships.

    Raises:
        ValueError: The text is no such address, or says plain text though `tls` was given.
    """
    wanted = "host:port, grpc://host:port or grpcs://host:port was wanted"
    scheme, separator, rest = text.strip().rpartition("://")
    if separator and scheme not in {"grpc", "grpcs"}:
        raise ValueError(
            f"the address {text!r} has the scheme {scheme!r}; {wanted}: give Triton's gRPC port, "
            f"by default {contract.GRPC_PORT}"
        )
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"the address {text!r} cannot be read ({error}); {wanted}") from error
    if not host or port == 0 or parts.path.strip("/") or parts.query or parts.username is not None:
        raise ValueError(f"the address {text!r} cannot be read; {wanted}")
    if scheme == "grpc" and tls is not None:
        raise ValueError(
            f"the address {text!r} says plain text, but TLS options were given: write grpcs://, or "
            "leave the options out"
        )
    if scheme == "grpcs" and tls is None:
        tls = Tls()
    bracketed = f"[{host}]" if ":" in host else host
    return Address(f"{bracketed}:{port or contract.GRPC_PORT}", tls)
