"""Time-outs, limits, retries and TLS: small values that are checked when they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Timeouts:
    """How long to wait for what.

    Attributes:
        request_s: For one screening from its first sending to its answer, all retries and the waits
            between them included. Each attempt's gRPC deadline is what is left of it.
        connect_s: For one attempt to connect.
        control_s: For one question about readiness or versions.
    """

    request_s: float = 60.0
    connect_s: float = 5.0
    control_s: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(
                    f"`{field.name}` (={value}) is no time-out: a number of seconds above 0 was "
                    "wanted; for a very long wait give a large number"
                )


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is sent again, and how long to wait before.

    Only what is safe and may mend itself is retried: see the tree in `thyroid_client.errors`. A
    screening changes nothing on the server, so sending it twice does no harm.

    The wait after attempt n is c (1 - jitter u) seconds, where c is `initial_backoff_s` 2^(n-1) or
    `max_backoff_s` if that is less, and u is uniform in [0, 1). With `jitter` 1 clients that failed
    together do not come back together ("full jitter", Brooker, AWS Architecture Blog, 2015).

    Attributes:
        attempts: How often a request is sent at most; 1 never retries.
        initial_backoff_s: The longest wait after the first attempt.
        max_backoff_s: The longest wait after any.
        jitter: Which share of each wait is random, from 0 to 1.
    """

    attempts: int = 6
    initial_backoff_s: float = 0.2
    max_backoff_s: float = 5.0
    jitter: float = 1.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(
                f"`attempts` (={self.attempts}) must be 1 or more: 1 sends each request once"
            )
        if not 0 < self.initial_backoff_s <= self.max_backoff_s < math.inf:
            raise ValueError(
                f"`initial_backoff_s` (={self.initial_backoff_s}) and `max_backoff_s` "
                f"(={self.max_backoff_s}) must be above 0 and in this order: to send without "
                "waiting give a millisecond"
            )
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"`jitter` (={self.jitter}) is a share: give a number from 0 to 1")

    def wait_s(self, attempt: int, random: float) -> float:
        """Compute the wait after an attempt.

        Args:
            attempt: Which attempt failed, from 1.
            random: A number from [0, 1).

        Returns:
            Seconds, from 0 to `max_backoff_s`.
        """
        # 2^60 first waits are longer than any cap; beyond, the power would overflow.
        ceiling_s = min(self.max_backoff_s, self.initial_backoff_s * 2.0 ** min(attempt - 1, 60))
        return ceiling_s * (1 - self.jitter * random)


@dataclass(frozen=True)
class Tls:
    """Encryption and trust, each from PEM files.

    Attributes:
        root_certificates: Of the authorities that may have signed the server's certificate; None
            for those that gRPC ships.
        certificate_chain: Of this client, where the server asks for one.
        private_key: Of `certificate_chain`.
    """

    root_certificates: Path | None = None
    certificate_chain: Path | None = None
    private_key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate_chain is None) != (self.private_key is None):
            given, missing = ("certificate_chain", "private_key")
            if self.certificate_chain is None:
                given, missing = missing, given
            raise ValueError(
                f"`{given}` was given without `{missing}`: a client certificate needs both files"
            )

    def read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Read the files.

        Returns:
            The contents of `root_certificates`, `private_key` and `certificate_chain`, in the order
            in which `grpc.ssl_channel_credentials` takes them.

        Raises:
            ValueError: A file cannot be read or holds no PEM block.
        """
        return (
            _read_pem("root_certificates", self.root_certificates),
            _read_pem("private_key", self.private_key),
            _read_pem("certificate_chain", self.certificate_chain),
        )


@dataclass(frozen=True)
class Limits:
    """How much at once.

    Attributes:
        max_in_flight: How many requests `screen_many` keeps in flight unless told otherwise.
    """

    max_in_flight: int = 8

    def __post_init__(self) -> None:
        check_in_flight(self.max_in_flight)


def check_in_flight(count: int) -> int:
    """Return `count` if so many requests can be in flight, raise ValueError if not."""
    if count < 1:
        raise ValueError(f"`max_in_flight` (={count}) must be 1 or more: 1 sends one after another")
    return count


def _read_pem(name: str, path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(
            f"`{name}` ({path}) cannot be read ({error.strerror}): give the path of a PEM file"
        ) from error
    if b"-----BEGIN " not in content:
        raise ValueError(
            f"`{name}` ({path}) holds no PEM block (-----BEGIN …): convert it with "
            "`openssl x509 -inform der` or give the right file"
        )
    return content
