"""Triton's administrative protocols, and the key without which nobody may use them.

They let a client map any file of /dev/shm into the server, the memory between it and its Python
processes included, load and unload models, and move the log. Triton leaves them open to everybody.
"""

from __future__ import annotations

import re
import secrets

from thyroid_server.errors import PreflightError

ADMIN_HEADER = "admin-key"
"""What the key is called: the header in HTTP; in gRPC `triton-grpc-protocol-` stands before it."""

_PROTOCOLS = ("shared-memory", "model-repository", "logging", "trace")
_RANDOM_BYTES = 32
_SENDABLE = re.compile(r"[!-~]+")  # every visible ASCII character, but no space


def random_admin_key() -> str:
    """A key that nobody knows, of hexadecimal digits."""
    return secrets.token_hex(_RANDOM_BYTES)


def check_admin_key(key: str | None) -> None:
    """See that a key, where there is one, can be sent in a header.

    Raises:
        PreflightError: It cannot.
    """
    if key is not None and not _SENDABLE.fullmatch(key):
        # The key itself is a secret, and messages end in logs.
        raise PreflightError(
            f"the admin key of {len(key)} characters cannot be sent in a header",
            wanted="at least one character; letters, digits and signs of ASCII only, no space",
            mend="take another one, for example from `openssl rand -hex 32`",
        )


def admin_arguments(key: str) -> list[str]:
    """The arguments by which tritonserver answers those protocols only to whoever sends the key."""
    restricted = f"{','.join(_PROTOCOLS)}:{ADMIN_HEADER}={key}"
    return [f"--http-restricted-api={restricted}", f"--grpc-restricted-protocol={restricted}"]
