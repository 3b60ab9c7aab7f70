"""TLS files that do not fit, and real servers that want TLS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as triton
import trustme
from tritonclient.utils import InferenceServerException

from thyroid_server.embedded import EmbeddedTriton, ServerSettings, TlsFiles
from thyroid_server.errors import TlsError
from thyroid_server.tls import check_tls, server_name

HOST = "triton.hospital.example"


class Authority:
    """A certificate authority that writes what it issues into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._ca = trustme.CA()
        self._folder = folder
        self.certificate = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(self.certificate)

    def issue(self, name: str, *identities: str) -> tuple[Path, Path]:
        """A pair of certificate and key."""
        issued = self._ca.issue_cert(*identities)
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return certificate, key


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("hospital ca"), "hospital")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def pair(hospital: Authority) -> tuple[Path, Path]:
    """A certificate that names neither localhost nor 127.0.0.1."""
    return hospital.issue("server", HOST)


def tls_error(files: TlsFiles) -> str:
    with pytest.raises(TlsError) as error:
        check_tls(files)
    return str(error.value)


def test_files_that_fit(hospital: Authority, pair: tuple[Path, Path]) -> None:
    check_tls(TlsFiles(*pair))
    check_tls(TlsFiles(*pair, client_ca=hospital.certificate))


@pytest.mark.parametrize(
    ("identity", "name"),
    [(HOST, HOST), ("*.hospital.example", "any.hospital.example"), ("10.1.2.3", "10.1.2.3")],
)
def test_the_name_that_a_certificate_is_valid_for(
    hospital: Authority, identity: str, name: str
) -> None:
    assert server_name(TlsFiles(*hospital.issue("named", identity))) == name


@pytest.mark.parametrize(
    "missing", ["certificate", "key", "client_ca", "client_certificate", "client_key"]
)
def test_a_missing_file_is_named(
    hospital: Authority, pair: tuple[Path, Path], missing: str
) -> None:
    files = TlsFiles(*pair, hospital.certificate, *pair)
    broken = replace(files, **{missing: hospital.certificate.with_name("gone.pem")})
    assert "gone.pem cannot be read: No such file or directory" in tls_error(broken)


def test_a_key_of_another_certificate(hospital: Authority, pair: tuple[Path, Path]) -> None:
    _, other_key = hospital.issue("other", HOST)
    assert "cannot be used together" in tls_error(TlsFiles(pair[0], other_key))


def test_a_certificate_that_is_none(pair: tuple[Path, Path], tmp_path: Path) -> None:
    text = tmp_path / "text.pem"
    text.write_text("this is no certificate")
    assert "cannot be used together" in tls_error(TlsFiles(text, pair[1]))
    assert "text.pem holds no certificate" in tls_error(TlsFiles(*pair, client_ca=text))


def test_a_client_certificate_without_its_key(hospital: Authority, pair: tuple[Path, Path]) -> None:
    files = TlsFiles(*pair, hospital.certificate, client_certificate=pair[0])
    assert "only one was given" in tls_error(files)


def test_a_client_ca_that_our_own_check_would_not_pass(
    stranger: Authority, pair: tuple[Path, Path]
) -> None:
    files = TlsFiles(*pair, client_ca=stranger.certificate)
    message = tls_error(files)
    assert "a client CA that signed" in message
    assert "give the readiness check a client certificate" in message
    check_tls(replace(files, **dict(zip(CLIENT_FIELDS, stranger.issue("probe", "x"), strict=True))))


CLIENT_FIELDS = ("client_certificate", "client_key")


def is_live(server: EmbeddedTriton, **channel: Any) -> bool:
    options = [("grpc.ssl_target_name_override", HOST)]
    with triton.InferenceServerClient(
        server.grpc_address, channel_args=options, **channel
    ) as client:
        return bool(client.is_server_live(client_timeout=10.0))


def encrypted(root: Path, certificate: Path | None = None, key: Path | None = None) -> Any:
    """Keyword arguments of a client that trusts `root` and shows a certificate of its own."""
    return {
        "ssl": True,
        "root_certificates": str(root),
        "certificate_chain": certificate and str(certificate),
        "private_key": key and str(key),
    }


@pytest.mark.server
def test_tls_on_a_real_server(
    hasty: ServerSettings, hospital: Authority, stranger: Authority, pair: tuple[Path, Path]
) -> None:
    with EmbeddedTriton(replace(hasty, host="0.0.0.0", tls=TlsFiles(*pair))) as server:
        assert is_live(server, **encrypted(hospital.certificate))
        with pytest.raises(InferenceServerException, match=r"UNAVAILABLE|DEADLINE"):
            is_live(server, **encrypted(stranger.certificate))
        with pytest.raises(InferenceServerException, match=r"UNAVAILABLE|DEADLINE"):
            is_live(server)
        # Triton's HTTP port cannot encrypt, and so must not be reached from another machine.
        assert server.http_address.startswith("127.0.0.1:")
        assert server.grpc_address.startswith("0.0.0.0:")


@pytest.fixture(scope="module")
def mutual(
    hasty: ServerSettings, stranger: Authority, pair: tuple[Path, Path]
) -> Iterator[EmbeddedTriton]:
    """A server of one authority, whose clients are another's."""
    probe = stranger.issue("probe", "readiness-check")
    tls = TlsFiles(*pair, stranger.certificate, *probe)
    with EmbeddedTriton(replace(hasty, tls=tls)) as server:
        yield server


@pytest.mark.server
def test_mutual_tls_answers_a_client_that_its_authority_signed(
    mutual: EmbeddedTriton, hospital: Authority, stranger: Authority
) -> None:
    assert is_live(mutual, **encrypted(hospital.certificate, *stranger.issue("good", "client")))


@pytest.mark.server
def test_mutual_tls_answers_nobody_else(mutual: EmbeddedTriton, hospital: Authority) -> None:
    channels: list[Any] = [
        encrypted(hospital.certificate, *hospital.issue("bad", "client")),
        encrypted(hospital.certificate),
        {},
    ]
    for channel in channels:
        with pytest.raises(InferenceServerException, match=r"UNAVAILABLE|DEADLINE"):
            is_live(mutual, **channel)
