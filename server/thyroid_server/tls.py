"""Checks TLS files by a handshake in memory, before a server is given them.

Triton answers a missing certificate with "Socket already in use", and a key that does not fit
only when a client comes.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from thyroid_server.errors import TlsError
from thyroid_server.settings import TlsFiles

_MOST_FLIGHTS = 10  # a TLS 1.3 handshake with client certificate needs 3


def check_tls(files: TlsFiles) -> None:
    """See that the files are there, readable, and fit each other.

    Raises:
        TlsError: They do not.
    """
    for meaning, path in (
        ("certificate", files.certificate),
        ("key", files.key),
        ("client CA", files.client_ca),
        ("client certificate", files.client_certificate),
        ("client key", files.client_key),
    ):
        if path is not None:
            _check_readable(path, meaning)
    if (files.client_certificate is None) != (files.client_key is None):
        raise TlsError(
            "of the client certificate and its key only one was given",
            wanted="both or none",
            mend="give the other one, too",
        )
    server, client = _contexts(files)
    try:
        _handshake(server, client)
    except ssl.SSLError as error:
        shown = files.own_client_pair[0] if files.client_ca else None
        raise TlsError(
            f"a trial handshake with {files.certificate} failed: {error}",
            wanted="a certificate that is valid today"
            + (f", and a client CA that signed {shown}" if shown else ""),
            mend="renew the certificate"
            + (
                f", or give the readiness check a client certificate that {files.client_ca} "
                "signed (TlsFiles.client_certificate and client_key)"
                if shown
                else ""
            ),
        ) from error


def server_name(files: TlsFiles) -> str | None:
    """A host name that the server's certificate is valid for; None where it names none.

    The readiness check connects to a bare address that a certificate seldom names, so it expects
    this name instead; it knows the certificate itself, not just who signed it.
    """
    peer = _handshake(*_contexts(files))
    names: list[str] = [name for kind, name in peer.get("subjectAltName", ()) if kind == "DNS"]
    names += [name for kind, name in peer.get("subjectAltName", ()) if kind == "IP Address"]
    for part in peer.get("subject", ()):
        names += [value for field, value in part if field == "commonName"]
    return names[0].replace("*", "any", 1) if names else None


def _check_readable(path: Path, meaning: str) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise TlsError(
            f"the TLS {meaning} {path} cannot be read: {error.strerror}",
            wanted="a PEM file that the user who starts the server may read",
            mend="correct the path or the file's permissions",
        ) from error


def _contexts(files: TlsFiles) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What the server will do, and what our readiness check will do as its client."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_pair(server, files.certificate, files.key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    # Trust the certificate itself, whoever signed it.
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    _load_trusted(client, files.certificate)
    if files.client_ca is not None:
        server.verify_mode = ssl.CERT_REQUIRED
        _load_trusted(server, files.client_ca)
        _load_pair(client, *files.own_client_pair)
    return server, client


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        # An empty passphrase: without one, OpenSSL would ask the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise TlsError(
            f"{certificate} and {key} cannot be used together: {error}",
            wanted="a PEM certificate and its own private key, without a passphrase",
            mend="give the pair that belongs together; "
            "`openssl pkey -in KEY -out PLAIN_KEY` takes a passphrase off",
        ) from error


def _load_trusted(context: ssl.SSLContext, certificate: Path) -> None:
    try:
        context.load_verify_locations(cafile=certificate)
    except ssl.SSLError as error:
        raise TlsError(
            f"{certificate} holds no certificate: {error}",
            wanted="a PEM file with at least one certificate",
            mend="convert it, for example `openssl x509 -inform der -in FILE -out FILE.pem`",
        ) from error


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    """Let both ends shake hands without a network; returns the server's decoded certificate.

    Raises:
        ssl.SSLError: One of the two refused.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    unfinished = list(ends)
    for _ in range(_MOST_FLIGHTS):
        for end in list(unfinished):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            unfinished.remove(end)
        if not unfinished:
            return dict(ends[0].getpeercert() or {})
    raise ssl.SSLError("the handshake came to no end")
