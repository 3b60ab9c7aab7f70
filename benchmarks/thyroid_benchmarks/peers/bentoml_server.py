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
_MS_PER_S = 1000
_NEVER = 1_000_000  # requests, or seconds
_QUIET = {
    "traffic": {"timeout": TIMEOUT_S},
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
}


def _response(answer: bytes | ImageError) -> Response:
    if isinstance(answer, ImageError):
        return Response(encode_refusal(str(answer)), 400, media_type="application/json")
    return Response(answer, media_type="application/json")


class Screening:
    """One worker process; its threads share the networks."""

    def __init__(self) -> None:
        self._screener = Screener(_SETTINGS)

    def screen(self, image: Path) -> Any:
        """Answer one request, in a thread of BentoML's.

        Files reach an API of BentoML's as paths of temporary ones.
        """
        try:
            return _response(self._screener.screen(image.read_bytes()))
        except ImageError as error:
            return _response(error)


class Batches:
    """A worker process that screens what BentoML has gathered."""

    def __init__(self) -> None:
        self._screener = Screener(_SETTINGS)

    def screen_all(self, images: list[bytes]) -> list[Any]:
        """Screen a batch."""
        return self._screener.screen_batch(images)


class Front:
    """Takes single images: an API that gathers batches takes lists, from another service."""

    async def screen(self, image: Path) -> Any:
        """Answer one request."""
        (answer,) = await self.batches.to_async.screen_all([image.read_bytes()])  # type: ignore[attr-defined]
        return _response(answer)


def _one_by_one() -> Any:
    Screening.screen = bentoml.api(route=ROUTE)(Screening.screen)  # type: ignore[method-assign]
    decorated = bentoml.service(name="screening", workers=1, threads=_SETTINGS.at_once, **_QUIET)
    return decorated(Screening)


def _gathering() -> Any:
    Batches.screen_all = bentoml.api(  # type: ignore[method-assign]
        batchable=True,
        max_batch_size=_SETTINGS.batch,
        # What cannot be done within it is refused. How long is waited for more it finds by itself.
        max_latency_ms=TIMEOUT_S * _MS_PER_S,
    )(Batches.screen_all)
    batches = bentoml.service(
        name="batches",
        workers=_SETTINGS.at_once,
        # By default its connections are renewed every 100 requests, which fails those on their way.
        runner_connection={"max_requests": _NEVER, "max_age": float(_NEVER)},
        **_QUIET,
    )(Batches)
    Front.batches = bentoml.depends(batches)  # type: ignore[attr-defined]
    Front.screen = bentoml.api(route=ROUTE)(Front.screen)  # type: ignore[method-assign]
    return bentoml.service(name="screening", workers=1, **_QUIET)(Front)


SERVICE = _gathering() if _SETTINGS.batch > 1 else _one_by_one()


def main() -> None:
    """Serve."""
    SERVICE.serve_http(host=HOST, port=_SETTINGS.port)
