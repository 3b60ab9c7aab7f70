"""BentoML."""

# No postponed annotations: BentoML reads the types of its API at once.
from pathlib import Path
from typing import Any

import bentoml
from starlette.responses import Response

from thyroid_benchmarks.peers.screener import Screener, encode_refusal
from thyroid_benchmarks.peers.settings import HOST, ROUTE, TIMEOUT_S, PeerSettings
from thyroid_pipeline.errors import ImageError

_SETTINGS = PeerSettings.from_environment()


class Screening:
    """One worker process; its threads share the networks."""

    def __init__(self) -> None:
        self._screener = Screener(_SETTINGS)

    def screen(self, image: Path) -> Any:
        """Answer one request, in a thread of BentoML's.

        Files reach an API of BentoML's as paths of temporary ones.
        """
        try:
            answer = self._screener.screen(image.read_bytes())
        except ImageError as error:
            return Response(encode_refusal(str(error)), 400, media_type="application/json")
        return Response(answer, media_type="application/json")


Screening.screen = bentoml.api(route=ROUTE)(Screening.screen)  # type: ignore[method-assign]
SERVICE = bentoml.service(
    name="screening",
    workers=1,
    threads=_SETTINGS.at_once,
    traffic={"timeout": TIMEOUT_S},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)(Screening)


def main() -> None:
    """Serve."""
    SERVICE.serve_http(host=HOST, port=_SETTINGS.port)
