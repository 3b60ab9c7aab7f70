"""All checks together, on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thyroid_server.errors import PreflightError, TlsError
from thyroid_server.preflight import prepare
from thyroid_server.settings import ServerSettings, TlsFiles


def test_this_machine_passes(repository: Path) -> None:
    with prepare(ServerSettings(repository, profile="cpu")).ports as ports:
        assert [endpoint.name for endpoint in ports.endpoints] == ["HTTP", "gRPC", "metrics"]
        assert all(endpoint.port > 0 for endpoint in ports.endpoints)


def test_a_missing_tls_file_is_found_before_the_start(
    repository: Path, tmp_path: Path, message_of: Any
) -> None:
    tls = TlsFiles(tmp_path / "server.pem", tmp_path / "server.key")
    with pytest.raises(TlsError) as error:
        prepare(replace(ServerSettings(repository, profile="cpu"), tls=tls))
    assert f"certificate {tls.certificate} cannot be read" in message_of(error)


def test_a_log_file_that_cannot_be_written(
    repository: Path, tmp_path: Path, message_of: Any
) -> None:
    file = tmp_path / "no such folder" / "triton.log"
    with pytest.raises(PreflightError) as error:
        prepare(ServerSettings(repository, profile="cpu", log_file=file))
    assert f"log file {file} cannot be written" in message_of(error)
