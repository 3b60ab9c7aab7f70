"""Ray Serve."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from thyroid_benchmarks.peers.screener import Screener, encode_refusal
from thyroid_benchmarks.peers.settings import (
    BATCH_WAIT_S,
    HOST,
    ROUTE,
    VARIABLE,
    PeerSettings,
)
from thyroid_pipeline.errors import ImageError

_STORE_BYTES = 128 * 1024 * 1024
# Ray Serve's own default, for every image that a replica works on at once: what waits there is at
# hand as soon as it is free. With 1 a replica idles while its router, which backs off where all are
# busy, finds out that it is free again.
_ONGOING = 5


class Screening:
    """One replica: a process that screens one image, or one batch, at a time.

    It does so in a thread, so that the replica's event loop is free to take requests and to tell
    its router how many it has: code that blocks belongs there, as Ray Serve's documentation says.
    """

    def __init__(self) -> None:
        self._settings = PeerSettings.from_environment()
        self._screener = Screener(self._settings)
        self._thread = ThreadPoolExecutor(1)
        # Only what is decorated gathers, so that without batches nothing waits.
        self.gathered.set_max_batch_size(self._settings.batch)

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        image = await request.body()
        if self._settings.batch > 1:
            answer = await self.gathered(image)
        else:
            (answer,) = await self._screened([image])
        if isinstance(answer, ImageError):
            return Response(encode_refusal(str(answer)), 400, media_type="application/json")
        return Response(answer, media_type="application/json")

    @serve.batch(batch_wait_timeout_s=BATCH_WAIT_S)  # type: ignore[untyped-decorator]
    async def gathered(self, images: list[bytes]) -> list[bytes | ImageError]:
        """Screen a batch; called with one image, as Ray Serve has it."""
        return await self._screened(images)

    async def _screened(self, images: list[bytes]) -> list[bytes | ImageError]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._screener.screen_batch, images)


def main() -> None:
    """Serve."""
    settings = PeerSettings.from_environment()
    ray.init(
        # Its own bookkeeping for placing replicas; the cores are the machine's.
        num_cpus=settings.at_once,
        include_dashboard=False,
        object_store_memory=_STORE_BYTES,
        _node_ip_address=HOST,
        _temp_dir=settings.scratch,
        log_to_driver=False,
        runtime_env={"env_vars": {VARIABLE: os.environ[VARIABLE]}},
    )
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    # The proxy listens on the loopback address alone.
    serve.start(http_options={"host": HOST, "port": settings.port})
    replicas = serve.deployment(
        Screening,
        num_replicas=settings.at_once,
        max_ongoing_requests=_ONGOING * settings.batch,
        ray_actor_options={"num_cpus": 1},
    )
    serve.run(replicas.bind(), route_prefix=ROUTE)
    ended.wait()
    serve.shutdown()
    ray.shutdown()
