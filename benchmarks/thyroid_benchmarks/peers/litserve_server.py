"""LitServe."""

import litserve
from fastapi import HTTPException, Request, Response

from thyroid_benchmarks.peers.screener import Screener
from thyroid_benchmarks.peers.settings import FORM_FIELD, HOST, ROUTE, TIMEOUT_S, PeerSettings
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

    def predict(self, image: bytes) -> bytes:
        """Screen one image."""
        try:
            return self._screener.screen(image)
        except ImageError as error:
            raise HTTPException(400, str(error)) from error

    def encode_response(self, output: bytes) -> Response:
        """Answer with the JSON as it is."""
        return Response(output, media_type="application/json")


def main() -> None:
    """Serve."""
    settings = PeerSettings.from_environment()
    server = litserve.LitServer(
        ScreeningApi(api_path=ROUTE),
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
