"""LitServe."""

import litserve
from fastapi import Request, Response

from thyroid_benchmarks.peers.screener import Screener, encode_refusal
from thyroid_benchmarks.peers.settings import (
    BATCH_WAIT_S,
    FORM_FIELD,
    HOST,
    ROUTE,
    TIMEOUT_S,
    PeerSettings,
)
from thyroid_pipeline.errors import ImageError


class ScreeningApi(litserve.LitAPI):  # type: ignore[misc]  # untyped where it is not installed
    """Screens in a worker process; LitServe's own process shares the requests out."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        """Load the networks, once in each worker."""
        self._screener = Screener(PeerSettings.from_environment())

    def decode_request(self, request: Request) -> bytes:
        """Take the image out of the form: LitServe reads JSON and forms, no raw body.

        By the annotation, which must be no string, it knows that it is to parse them itself.
        """
        return bytes(request[FORM_FIELD].file.read())

    def predict(self, images: bytes | list[bytes]) -> object:
        """Screen one image; where LitServe gathers batches, those of one."""
        if isinstance(images, list):
            return self._screener.screen_batch(images)
        return self._screener.screen_batch([images])[0]

    def encode_response(self, output: bytes | ImageError) -> Response:
        """Answer with the JSON as it is, or refuse this image alone."""
        if isinstance(output, ImageError):
            return Response(encode_refusal(str(output)), 400, media_type="application/json")
        return Response(output, media_type="application/json")


def main() -> None:
    """Serve."""
    settings = PeerSettings.from_environment()
    waits = {"batch_timeout": BATCH_WAIT_S} if settings.batch > 1 else {}
    server = litserve.LitServer(
        ScreeningApi(api_path=ROUTE, max_batch_size=settings.batch, **waits),
        accelerator="cpu",
        workers_per_device=settings.at_once,
        timeout=TIMEOUT_S,
    )
    server.run(
        host=HOST,
        port=settings.port,
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
