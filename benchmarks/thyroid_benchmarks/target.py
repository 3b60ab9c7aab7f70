"""What the load is sent to, and whether what came back was right."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

from thyroid_benchmarks.pool import Pool
from thyroid_benchmarks.references import References, full_fault, quick_fault
from thyroid_client import (
    AsyncTransport,
    ImageRejected,
    RawAnswer,
    ServerOverloaded,
    ThyroidClientError,
    Timeouts,
)
from thyroid_client._address import parse_address
from thyroid_client._grpc_aio import AsyncGrpcTransport

OK = "ok"  # the right answer, a refusal of a corrupt image included
WRONG_ANSWER = "WrongAnswer"
NOT_REFUSED = "NotRefused"  # a corrupt image was answered
TURNED_AWAY = ServerOverloaded.__name__  # the server had more requests than it takes

DEFAULT_CHANNELS = 4
KEEP_EVERY = 5  # of the answers, compared in full after the load
REQUEST_TIMEOUT_S = 60.0


class Target(Protocol):
    """Takes one image of the pool and says what became of it."""

    async def send(self, index: int) -> str:
        """Send the image of this index; return `OK` or the kind of the failure, never raise."""


class ScreeningTarget:
    """The screening behind transports of `thyroid_client`, judged against the right answers.

    No retries: each request is one request. Every answer's small tensors are compared at once; of
    every `keep_every`-th the whole answer is kept and compared, mask included, after the load.

    Args:
        transports: Used in turn. More than one connection: a single one caps what a client can
            send, since all its requests share one flow-control window and one thread in the server.
        pool: The images.
        references: The right answers; None checks no more than that the outputs are there.
        keep_every: 1 keeps all.
    """

    def __init__(
        self,
        transports: Sequence[AsyncTransport],
        pool: Pool,
        references: References | None,
        keep_every: int = KEEP_EVERY,
    ) -> None:
        self._transports = transports
        self._next_transport = itertools.cycle(transports)
        self._pool = pool
        self._answers = {} if references is None else references.answers
        self._keep_every = keep_every
        self._answered = 0
        self._kept: list[tuple[int, RawAnswer]] = []

    async def send(self, index: int) -> str:
        """Send one image."""
        corrupt = self._pool.cases[index].kind == "corrupt"
        try:
            answer = await next(self._next_transport).infer(
                self._pool.contents[index], timeout_s=REQUEST_TIMEOUT_S
            )
        except ImageRejected as error:
            return OK if corrupt else error.kind
        except ThyroidClientError as error:
            return error.kind
        if corrupt:
            return NOT_REFUSED
        if self._answered % self._keep_every == 0:
            self._kept.append((index, answer))
        self._answered += 1
        return OK if quick_fault(answer, self._answers.get(index)) is None else WRONG_ANSWER

    def compare_kept(self) -> tuple[int, list[str]]:
        """Compare the kept answers with the right ones.

        Returns:
            How many were compared, and what was wrong with those that differ.
        """
        pairs = [(index, answer) for index, answer in self._kept if index in self._answers]
        faults = [
            f"image {index}: {fault}"
            for index, answer in pairs
            if (fault := full_fault(answer, self._answers[index])) is not None
        ]
        return len(pairs), faults

    async def close(self) -> None:
        """Close the connections."""
        for transport in self._transports:
            await transport.close()


def connect(
    address: str,
    pool: Pool,
    references: References | None,
    channels: int = DEFAULT_CHANNELS,
    keep_every: int = KEEP_EVERY,
) -> ScreeningTarget:
    """Connect to a server; inside the event loop that will send.

    The client's transport sends the raw bytes and reads nothing but protobuf: `AsyncThyroidClient`
    above it also decodes every mask, in threads that would compete with the server for its cores.
    """
    where = parse_address(address, None)
    timeouts = Timeouts(request_s=REQUEST_TIMEOUT_S)
    transports = [AsyncGrpcTransport(where, timeouts) for _ in range(channels)]
    return ScreeningTarget(transports, pool, references, keep_every)
