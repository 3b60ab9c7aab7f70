"""The peers' answers over HTTP, read into what the client's gRPC transport gives."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import Mapping
from typing import Any, Literal

import aiohttp
import numpy as np

from thyroid_benchmarks.peers.settings import FORM_FIELD
from thyroid_client import (
    AnswerError,
    ConnectionFailed,
    DeadlineExceeded,
    ImageRejected,
    RawAnswer,
    RawTensor,
    ServerError,
    ServerUnavailable,
)
from thyroid_pipeline import contract

Body = Literal["raw", "form"]
_REFUSED = 400
_UNAVAILABLE = (429, 503)
_CONNECTIONS = 64
_KEEP_S = 3.0  # an idle connection; uvicorn closes it after 5 s


class HttpTransport:
    """One image a request over kept connections; made inside the event loop that it serves.

    It implements `thyroid_client.AsyncTransport`. No retries.

    Args:
        url: Of the route that screens.
        body: How the image is sent: `raw`, the bytes themselves, or `form`, a file of a multipart
            form, for servers that take no raw body.
    """

    def __init__(self, url: str, body: Body = "raw") -> None:
        self._url = url
        self._body = body
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_KEEP_S),
            # Compression costs a server more than the loopback does; some compress unless told.
            headers={"Accept-Encoding": "identity"},
        )

    async def infer(self, image: bytes, *, timeout_s: float) -> RawAnswer:
        """Send one image and wait for the answer."""
        data: Any = image
        if self._body == "form":
            data = aiohttp.FormData()
            data.add_field(
                FORM_FIELD, image, filename="image", content_type="application/octet-stream"
            )
        headers = {} if self._body == "form" else {"Content-Type": "application/octet-stream"}
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.post(
                self._url, data=data, headers=headers, timeout=timeout
            ) as response:
                content = await response.read()
        except asyncio.TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {timeout_s:g} s") from error
        except aiohttp.ClientError as error:
            raise ConnectionFailed(f"the connection failed: {type(error).__name__}") from error
        return read_http_answer(response.status, content)

    async def is_ready(self, *, timeout_s: float) -> bool:
        """Whether anything answers at the route, be it that it takes POST alone."""
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.get(self._url, timeout=timeout):
                return True
        except (aiohttp.ClientError, asyncio.TimeoutError):
            return False

    async def model_versions(self, *, timeout_s: float) -> Mapping[str, str]:  # noqa: ARG002
        """Peers number no versions."""
        return {}

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def read_http_answer(status: int, content: bytes) -> RawAnswer:
    """Read a peer's answer, as `peers.screener` writes it.

    Raises:
        ImageRejected: The status is 400: it cannot screen this image.
        ServerUnavailable: It takes no more at the moment.
        ServerError: It failed.
        AnswerError: It is no such answer.
    """
    if status == _REFUSED:
        raise ImageRejected(content[:500].decode(errors="replace"))
    if status in _UNAVAILABLE:
        raise ServerUnavailable(f"HTTP status {status}")
    if status != 200:
        raise ServerError(f"HTTP status {status}: {content[:200].decode(errors='replace')}")
    try:
        fields = json.loads(content)
        tensors = tuple(
            _tensor(tensor, fields[tensor.name]) for tensor in contract.ENSEMBLE.outputs
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnswerError(
            f"the answer of {len(content)} bytes cannot be read ({type(error).__name__}); a JSON "
            "object with every output of the ensemble was wanted: see the peer's server"
        ) from error
    return RawAnswer(contract.ENSEMBLE.name, "", tensors)


def _tensor(tensor: contract.Tensor, value: Any) -> RawTensor:
    shape = (1, *tensor.shape)
    if tensor.data_type is contract.DataType.BYTES:
        data = base64.b64decode(value, validate=True)
        raw = struct.pack("<I", len(data)) + data
    else:
        # A null is a NaN: JSON has none.
        floats = np.array(value, object)
        floats[floats == None] = np.nan  # noqa: E711 - elementwise
        raw = floats.astype(tensor.data_type.numpy).reshape(shape).tobytes()
    return RawTensor(tensor.name, tensor.data_type.value, shape, raw)
