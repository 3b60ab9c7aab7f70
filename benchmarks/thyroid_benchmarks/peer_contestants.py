"""Puts the contestants together: our server, the tutorial's ensemble, and the peers there are."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from thyroid_benchmarks.measure import Subject
from thyroid_benchmarks.peer_comparison import Say
from thyroid_benchmarks.peer_environment import (
    PeerUnavailableError,
    installed_versions,
    make_environment,
    tidy,
)
from thyroid_benchmarks.peer_figures import Connect, Contestant, Open
from thyroid_benchmarks.peer_list import (
    BATCH,
    LAYOUTS,
    OURS,
    OURS_TUNED,
    PEERS,
    TUTORIAL,
    TUTORIAL_TUNED,
    Layout,
    Peer,
)
from thyroid_benchmarks.peer_process import serving
from thyroid_benchmarks.peer_transport import HttpTransport
from thyroid_benchmarks.peers.settings import HOST, ROUTE
from thyroid_benchmarks.target import ScreeningTarget, connect
from thyroid_benchmarks.tutorial_repository import write_tutorial_repository
from thyroid_pipeline import contract
from thyroid_server.cores import usable_cores
from thyroid_server.embedded import EmbeddedTriton, ServerSettings
from thyroid_server.errors import ServerError

_TRITON = "nvidia-pytriton"


def make_contestants(
    names: Sequence[str],
    layouts: Sequence[Layout],
    *,
    cache: Path,
    model_repository: Path,
    parameters: contract.CropperParameters,
    say: Say,
) -> tuple[list[Contestant], dict[str, str]]:
    """Make environments where they are missing, and say how each contestant is started.

    Args:
        names: Which peers, of `peer_list.NAMES`; ours comes first in any case.
        layouts: In which layouts; each peer in those of them that it has.
        cache: The folder of the peers' environments.
        model_repository: Ours, which holds the weights of all.
        parameters: The cropper's.
        say: Told what is being made.

    Returns:
        The contestants, and for each that cannot be had, by title, why not. Those are among the
        contestants as well: a peer that was wanted is never left out of a report.
    """
    tritons = {_TRITON: version(_TRITON)}
    contestants = [Contestant(OURS, "", OURS_TUNED, _ours(model_repository), tritons)]
    faults: dict[str, str] = {}
    if TUTORIAL in names:
        opened = _tutorial(model_repository, parameters)
        contestants.append(Contestant(TUTORIAL, "", TUTORIAL_TUNED, opened, tritons))
    for peer in (peer for peer in PEERS if peer.name in names):
        python, versions, fault = Path(), dict[str, str](), None
        try:
            say(f"environment of {peer.name}")
            python = make_environment(cache, peer.name, peer.requirements)
            versions = installed_versions(python, peer.packages)
        except PeerUnavailableError as error:
            fault = f"its environment cannot be made: {error}"
            say(f"         {peer.name} is out: {error}")
        for layout in (layout for layout in layouts if layout in peer.layouts):
            opened = _peer(peer, layout, python, model_repository, parameters)
            one = Contestant(peer.name, layout, peer.tuned, opened, versions)
            contestants.append(one)
            if fault is not None:
                faults[one.title] = fault
    return contestants, faults


@dataclass(frozen=True)
class Numbers:
    """What a layout is in numbers: see `peers.settings.PeerSettings`."""

    at_once: int
    threads: int
    batch: int


def layout_numbers(layout: Layout, cores: int) -> Numbers:
    """Return how many images are worked on at once, on how many threads, in what batches.

    Raises:
        ValueError: There is no such layout.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"the layout is {layout!r}; one of {', '.join(LAYOUTS)} was wanted")
    return Numbers(
        at_once=cores,
        threads=cores if layout == "latency" else 1,
        batch=BATCH if layout == "batched" else 1,
    )


def _peer(
    peer: Peer,
    layout: Layout,
    python: Path,
    model_repository: Path,
    parameters: contract.CropperParameters,
) -> Open:
    numbers = layout_numbers(layout, usable_cores())

    @contextlib.contextmanager
    def opened() -> Iterator[Connect]:
        with serving(
            python,
            peer.module,
            model_repository=model_repository,
            at_once=numbers.at_once,
            threads=numbers.threads,
            batch=numbers.batch,
            cropper=parameters,
            extra=peer.extra,
        ) as process:
            url = f"http://{HOST}:{process.port}{ROUTE}"

            def connected(subject: Subject, keep_every: int) -> ScreeningTarget:
                process.check()
                transport = HttpTransport(url, peer.body)
                return ScreeningTarget([transport], subject.pool, subject.references, keep_every)

            yield connected

    return opened


def _ours(model_repository: Path) -> Open:
    settings = ServerSettings(model_repository=model_repository, profile=contract.CPU_PROFILE)

    @contextlib.contextmanager
    def opened() -> Iterator[Connect]:
        with _triton(settings) as connected:
            yield connected

    return opened


def _tutorial(model_repository: Path, parameters: contract.CropperParameters) -> Open:
    @contextlib.contextmanager
    def opened() -> Iterator[Connect]:
        with tempfile.TemporaryDirectory(prefix="thyroid-peer-") as folder:
            repository = Path(folder) / "models"
            write_tutorial_repository(repository, model_repository, parameters)
            with _triton(ServerSettings(model_repository=repository)) as connected:
                yield connected

    return opened


@contextlib.contextmanager
def _triton(settings: ServerSettings) -> Iterator[Connect]:
    try:
        server = EmbeddedTriton(settings)
        server.start()
    except ServerError as error:
        raise PeerUnavailableError(tidy(f"Triton does not start: {error}")) from error
    try:

        def connected(subject: Subject, keep_every: int) -> ScreeningTarget:
            return connect(
                server.grpc_address, subject.pool, subject.references, keep_every=keep_every
            )

        yield connected
    finally:
        server.stop()
