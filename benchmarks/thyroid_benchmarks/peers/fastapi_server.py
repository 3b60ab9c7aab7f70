"""FastAPI with uvicorn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request, Response

from thyroid_benchmarks.peers.screener import Screener, encode_refusal
from thyroid_benchmarks.peers.settings import HOST, ROUTE, PeerSettings
from thyroid_pipeline.errors import ImageError


def make_app(settings: PeerSettings) -> FastAPI:
    """Make the application; the networks are loaded when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.screener = Screener(settings)
        # Images beyond these wait in turn, rather than share the cores with those being worked on.
        app.state.limiter = CapacityLimiter(settings.at_once)
        yield

    async def screen(request: Request) -> Response:
        image = await request.body()
        state = request.app.state
        try:
            # In a thread: networks and OpenCV let go of the interpreter's lock.
            answer = await to_thread.run_sync(state.screener.screen, image, limiter=state.limiter)
        except ImageError as error:
            return Response(encode_refusal(str(error)), 400, media_type="application/json")
        return Response(answer, media_type="application/json")

    app = FastAPI(lifespan=lifespan)
    app.add_api_route(ROUTE, screen, methods=["POST"])
    return app


def main() -> None:
    """Serve."""
    settings = PeerSettings.from_environment()
    uvicorn.run(
        make_app(settings), host=HOST, port=settings.port, log_level="warning", access_log=False
    )
