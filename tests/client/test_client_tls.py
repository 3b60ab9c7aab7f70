"""TLS: the right authority, the wrong one, none, and client certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from thyroid_client import (
    AsyncThyroidClient,
    ConnectionFailed,
    RetryPolicy,
    Screening,
    ThyroidClient,
    Tls,
    TlsFailed,
)

QUICK = RetryPolicy(attempts=3, initial_backoff_s=0.01, max_backoff_s=0.02)


class Trust:
    """An authority with a certificate for 127.0.0.1, as files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.ca = trustme.CA()
        self.root = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.root)
        issued = self.ca.issue_cert("127.0.0.1")
        self.chain, self.key = folder / "chain.pem", folder / "key.pem"
        self.chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(self.key)

    def server_credentials(self, *, mutual: bool = False) -> grpc.ServerCredentials:
        return grpc.ssl_server_credentials(
            [(self.key.read_bytes(), self.chain.read_bytes())],
            root_certificates=self.root.read_bytes() if mutual else None,
            require_client_auth=mutual,
        )


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return Trust(tmp_path_factory.mktemp("trust") / "ours")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return Trust(tmp_path_factory.mktemp("trust") / "theirs")


def run_sync(address: str, tls: Tls | None) -> Screening:
    with ThyroidClient(address, tls=tls, retry=QUICK) as client:
        return client.screen(b"image")


def run_async(address: str, tls: Tls | None) -> Screening:
    async def run() -> Screening:
        async with AsyncThyroidClient(address, tls=tls, retry=QUICK) as client:
            return await client.screen(b"image")

    return asyncio.run(run())


ScreenOnce = Callable[[str, "Tls | None"], Screening]


@pytest.fixture(params=[run_sync, run_async], ids=["sync", "async"])
def screen_once(request: pytest.FixtureRequest) -> ScreenOnce:
    return request.param  # type: ignore[no-any-return]


def test_the_right_authority(
    start_server: Callable[..., Any], screen_once: ScreenOnce, trust: Trust
) -> None:
    running = start_server(credentials=trust.server_credentials())
    for address in (running.address, f"grpcs://{running.address}"):
        assert screen_once(address, Tls(root_certificates=trust.root)).nodule_found


def test_the_wrong_authority_is_not_asked_twice(
    start_server: Callable[..., Any], screen_once: ScreenOnce, trust: Trust, other: Trust
) -> None:
    running = start_server(credentials=trust.server_credentials())
    with pytest.raises(TlsFailed, match="no trusted connection to grpcs://") as caught:
        screen_once(running.address, Tls(root_certificates=other.root))
    assert caught.value.attempts == 1
    assert running.servicer.images == []


def test_an_authority_that_gRPC_does_not_know(  # noqa: N802
    start_server: Callable[..., Any], screen_once: ScreenOnce, trust: Trust
) -> None:
    running = start_server(credentials=trust.server_credentials())
    with pytest.raises(TlsFailed, match="give the certificate of the authority"):
        screen_once(f"grpcs://{running.address}", None)


def test_plain_text_to_a_server_that_wants_tls(
    start_server: Callable[..., Any], screen_once: ScreenOnce, trust: Trust
) -> None:
    running = start_server(credentials=trust.server_credentials())
    with pytest.raises(ConnectionFailed, match="whether it speaks TLS"):
        screen_once(running.address, None)
    assert running.servicer.images == []


def test_tls_to_a_server_of_plain_text(
    start_server: Callable[..., Any], screen_once: ScreenOnce, trust: Trust
) -> None:
    running = start_server()
    with pytest.raises(TlsFailed, match="check that the server speaks TLS"):
        screen_once(running.address, Tls(root_certificates=trust.root))
    assert running.servicer.images == []


def test_a_server_that_wants_a_certificate_of_the_client(
    start_server: Callable[..., Any], screen_once: ScreenOnce, trust: Trust, other: Trust
) -> None:
    running = start_server(credentials=trust.server_credentials(mutual=True))
    ours = Tls(root_certificates=trust.root, certificate_chain=trust.chain, private_key=trust.key)
    assert screen_once(running.address, ours).nodule_found
    for wrong in (
        Tls(root_certificates=trust.root),
        Tls(root_certificates=trust.root, certificate_chain=other.chain, private_key=other.key),
    ):
        with pytest.raises(ConnectionFailed):
            screen_once(running.address, wrong)
    assert len(running.servicer.images) == 1
