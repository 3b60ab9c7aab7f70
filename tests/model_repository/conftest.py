"""A client of the real server, as any user has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tritonclient.grpc as triton

from thyroid_server.embedded import EmbeddedTriton


@pytest.fixture(scope="session")
def client(server: EmbeddedTriton) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc_address) as connected:
        yield connected
