"""The layouts that are measured against ours, and how each is started."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from thyroid_benchmarks.layouts_int8 import derive_int8
from thyroid_benchmarks.layouts_repositories import (
    batched,
    derive,
    derive_frames,
    derive_fused,
    derive_two_calls,
    fixed,
)
from thyroid_benchmarks.layouts_transports import (
    FrameTransport,
    FusedTransport,
    TwoCallTransport,
    shared_frames,
)
from thyroid_benchmarks.measure import Subject
from thyroid_benchmarks.peer_environment import PeerUnavailableError
from thyroid_benchmarks.peer_figures import Connect, Contestant
from thyroid_benchmarks.peer_list import BATCH, OURS
from thyroid_benchmarks.target import (
    DEFAULT_CHANNELS,
    REQUEST_TIMEOUT_S,
    ScreeningTarget,
    connect,
)
from thyroid_client import AsyncTransport, Timeouts
from thyroid_client._address import Address, parse_address
from thyroid_pipeline import contract
from thyroid_server.admin import random_admin_key
from thyroid_server.embedded import EmbeddedTriton, ServerSettings
from thyroid_server.errors import ServerError

BATCH_DELAY_MS = 5.0
CLIENT_DECODES_SHARE = 0.4
_TIMEOUTS = Timeouts(request_s=REQUEST_TIMEOUT_S)

Derive = Callable[[Path], None]
"""Writes a model repository into a folder that does not exist yet."""
MakeTransport = Callable[[Address], AsyncTransport]
Clients = Callable[[EmbeddedTriton, str], contextlib.AbstractContextManager[MakeTransport]]
"""Says how clients ask a running server, given its admin key."""


@dataclass(frozen=True)
class Layout:
    """One way to lay out the screening.

    Attributes:
        name: In reports and on the command line.
        about: What it is.
        is_fixed: Whether it differs from ours by a fixed number of instances and threads alone.
        write: Writes its model repository; None for ours as it is.
        clients: How clients ask; None as they ask ours.
        max_generator_share: What the process that makes the load may use of all cores, where a part
            of the work is the client's; None for what the rules say.
    """

    name: str
    about: str
    is_fixed: bool = False
    write: Derive | None = None
    clients: Clients | None = None
    max_generator_share: float | None = None


def make_layouts(model_repository: Path, cores: int) -> list[Layout]:
    """List all layouts, ours first.

    Args:
        model_repository: Ours.
        cores: That a server may use, from 1.
    """
    pairs = dict.fromkeys([(cores, 1), (cores, cores), (1, cores), (max(cores // 2, 1), 2)])
    layouts = [
        Layout(
            OURS,
            "an instance for each core; a request runs on all cores that are free, on one where "
            "others wait",
        )
    ]
    layouts += [
        Layout(
            f"{instances}x{threads}",
            f"{instances} instances of each network, {threads} threads each",
            is_fixed=True,
            write=partial(_derive, model_repository, instances, threads),
        )
        for instances, threads in pairs
    ]
    layouts += [
        Layout(
            f"batched-{delay_ms:g}ms",
            f"ours; each network gathers what waits into batches, for up to {delay_ms:g} ms",
            write=partial(_derive_batched, model_repository, delay_ms),
        )
        for delay_ms in (0.0, BATCH_DELAY_MS)
    ]
    return [
        *layouts,
        Layout(
            "fused",
            "one Python model goes the whole way, an instance for each core; its networks take "
            "cores as ours do",
            write=lambda folder: derive_fused(folder, model_repository, cores),
            clients=_fused,
        ),
        Layout(
            f"fused-{BATCH}",
            f"fused; each instance takes up to {BATCH} waiting images together through every step",
            write=lambda folder: derive_fused(folder, model_repository, cores, BATCH),
            clients=_fused,
        ),
        Layout(
            "int8",
            "ours with ResNet-18 in INT8, as `thyroid-export onnx --precision int8` writes it",
            write=lambda folder: derive_int8(folder, model_repository),
        ),
        Layout(
            "two-calls",
            "ours; the client asks for the nodule, then sends the region back for the judgement",
            write=lambda folder: derive_two_calls(folder, model_repository),
            clients=_two_calls,
        ),
        Layout(
            "client-frames",
            "ours; the client decodes each image and hands the frame over by system shared memory, "
            "both within what is measured",
            write=lambda folder: derive_frames(folder, model_repository),
            clients=_client_frames,
            max_generator_share=CLIENT_DECODES_SHARE,
        ),
    ]


def as_contestants(layouts: Sequence[Layout], model_repository: Path) -> list[Contestant]:
    """Say how each layout is started.

    Args:
        layouts: Which.
        model_repository: Ours.
    """
    return [
        Contestant(
            name=layout.name,
            layout="",
            tuned=layout.about,
            open=partial(_open, layout, model_repository),
            versions={},
            max_generator_share=layout.max_generator_share,
        )
        for layout in layouts
    ]


def _derive(model_repository: Path, instances: int, threads: int, folder: Path) -> None:
    derive(folder, model_repository, fixed(instances, threads))


def _derive_batched(model_repository: Path, delay_ms: float, folder: Path) -> None:
    derive(folder, model_repository, batched(delay_ms))


@contextlib.contextmanager
def _open(layout: Layout, model_repository: Path) -> Iterator[Connect]:
    """Start a layout's server; it ends with the block."""
    admin_key = random_admin_key()
    with tempfile.TemporaryDirectory(prefix="thyroid-layout-") as scratch:
        folder, profile = model_repository, contract.CPU_PROFILE
        if layout.write is not None:
            folder = Path(scratch) / "models"
            layout.write(folder)
        settings = ServerSettings(
            model_repository=folder,
            profile=profile if layout.write is None else None,
            log_file=Path(scratch) / "server.log",
            admin_key=admin_key,
        )
        with contextlib.ExitStack() as stack:
            try:
                server = stack.enter_context(EmbeddedTriton(settings))
            except ServerError as error:
                raise PeerUnavailableError(f"{layout.name} did not start: {error}") from error
            make = None
            if layout.clients is not None:
                make = stack.enter_context(layout.clients(server, admin_key))
            yield partial(_connect, server.grpc_address, make)


def _connect(
    address: str, make: MakeTransport | None, subject: Subject, keep_every: int
) -> ScreeningTarget:
    if make is None:
        return connect(address, subject.pool, subject.references, keep_every=keep_every)
    where = parse_address(address, None)
    transports = [make(where) for _ in range(DEFAULT_CHANNELS)]
    return ScreeningTarget(transports, subject.pool, subject.references, keep_every)


@contextlib.contextmanager
def _fused(_server: EmbeddedTriton, _admin_key: str) -> Iterator[MakeTransport]:
    yield lambda address: FusedTransport(address, _TIMEOUTS)


@contextlib.contextmanager
def _two_calls(_server: EmbeddedTriton, _admin_key: str) -> Iterator[MakeTransport]:
    yield lambda address: TwoCallTransport(address, _TIMEOUTS)


@contextlib.contextmanager
def _client_frames(server: EmbeddedTriton, admin_key: str) -> Iterator[MakeTransport]:
    address = parse_address(server.grpc_address, None)
    with shared_frames(address, admin_key) as frames:
        yield lambda where: FrameTransport(where, _TIMEOUTS, frames)
