"""Ray Serve."""

from __future__ import annotations

import os
import signal
import threading

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from thyroid_benchmarks.peers.screener import Screener, encode_refusal
from thyroid_benchmarks.peers.settings import HOST, ROUTE, VARIABLE, PeerSettings
from thyroid_pipeline.errors import ImageError

_STORE_BYTES = 128 * 1024 * 1024


class Screening:
    """One replica: a process that screens one image at a time."""

    def __init__(self) -> None:
        self._screener = Screener(PeerSettings.from_environment())

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        image = await request.body()
        try:
            # In the replica's own thread: it takes no second request meanwhile (see `main`).
            return Response(self._screener.screen(image), media_type="application/json")
        except ImageError as error:
            return Response(encode_refusal(str(error)), 400, media_type="application/json")


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
        # One being worked on: more would wait in a replica while another is free.
        max_ongoing_requests=1,
        ray_actor_options={"num_cpus": 1},
    )
    serve.run(replicas.bind(), route_prefix=ROUTE)
    ended.wait()
    serve.shutdown()
    ray.shutdown()
