"""The scenarios, after MLPerf Inference (Reddi et al., ISCA 2020), and the shapes of load.

| scenario | loop | a latency is |
|---|---|---|
| single stream | closed, one client | from sending to the answer |
| clients | closed, several clients | from sending to the answer |
| multi stream | closed, queries of several images | from sending the query to its last answer |
| server, step, spike, soak | open, Poisson arrivals | from the *scheduled* time to the answer |
| offline | closed, as many as the server's queue takes | not reported: only the rate counts |

A closed loop waits for the answer before it sends again, so that a server that stalls is not asked
meanwhile and hides its queue: its latencies say what one client sees, and nothing of a server under
a load that does not wait. Reports label them so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from thyroid_benchmarks.schedule import Stage, spike, steady, step


@dataclass(frozen=True)
class ClosedLoop:
    """Clients that each send an image, wait for the answer, and send the next.

    Attributes:
        clients: How many, from 1.
        duration_s: For how long, warm-up included.
    """

    clients: int
    duration_s: float


@dataclass(frozen=True)
class MultiStream:
    """Queries of several images sent at once; the next when all of them have been answered.

    Attributes:
        images_per_query: From 1.
        duration_s: For how long, warm-up included.
    """

    images_per_query: int
    duration_s: float


@dataclass(frozen=True)
class OpenLoop:
    """Images sent when it is their time, whatever became of those before.

    Attributes:
        stages: The rate over time, warm-up included.
        seed: Fixes the arrivals.
    """

    stages: tuple[Stage, ...]
    seed: int

    @property
    def duration_s(self) -> float:
        """How long all stages last."""
        return sum(stage.duration_s for stage in self.stages)

    @property
    def mean_per_s(self) -> float:
        """The mean rate over all stages."""
        expected = sum(stage.duration_s * stage.rate_per_s for stage in self.stages)
        return expected / self.duration_s


IN_FLIGHT = 64


@dataclass(frozen=True)
class Offline:
    """All images as fast as they are taken.

    Attributes:
        images: How many, warm-up included.
        in_flight: How many at once; Triton's queue refuses more than its `max_queue_size`.
    """

    images: int
    in_flight: int = IN_FLIGHT


Load: TypeAlias = ClosedLoop | MultiStream | OpenLoop | Offline
Name = Literal[
    "single-stream", "clients", "multi-stream", "server", "offline", "step", "spike", "soak"
]


@dataclass(frozen=True)
class Scenario:
    """One run.

    Attributes:
        name: What it is called in reports.
        load: What is sent when.
        warmup_s: What is sent before this is answered but not counted.
        bound_ms: Answers within it are good put; None sets no bound.
        is_level: Whether the load is the same throughout, so that a drift would mean something.
        watches_memory: Whether the server's memory is sampled and must not grow.
    """

    name: str
    load: Load
    warmup_s: float
    bound_ms: float | None = None
    is_level: bool = True
    watches_memory: bool = False

    @property
    def is_open(self) -> bool:
        """Whether latencies count from the scheduled time."""
        return isinstance(self.load, OpenLoop)

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters for a report."""
        load = {"kind": type(self.load).__name__, **asdict(self.load)}
        return {
            "name": self.name,
            "loop": "open" if self.is_open else "closed",
            "warmup_s": self.warmup_s,
            "bound_ms": self.bound_ms,
            "load": load,
        }


@dataclass(frozen=True)
class Wish:
    """What a user asks of a scenario; each takes what it needs.

    Attributes:
        duration_s: Of what is counted.
        warmup_s: Before that.
        bound_ms: For the good put.
        seed: Of the arrivals.
        clients: Of `clients`.
        images_per_query: Of `multi-stream`; MLPerf takes 8.
        rate_per_s: Of `server` and `soak`; `step` climbs to it from half of it, `spike` leaps from
            half of it to half as much again. Of `offline` about what the server does, by which its
            warm-up is measured.
        images: Of `offline`, warm-up included.
    """

    duration_s: float = 30.0
    warmup_s: float = 3.0
    bound_ms: float | None = 1000.0
    seed: int = 1
    clients: int = 8
    images_per_query: int = 8
    rate_per_s: float = 8.0
    images: int = 400


def make_scenario(name: Name, wish: Wish) -> Scenario:
    """Make a scenario of the table above."""
    whole_s = wish.warmup_s + wish.duration_s
    rate = wish.rate_per_s

    def open_loop(label: str, stages: tuple[Stage, ...], *, is_level: bool) -> Scenario:
        ahead = steady(stages[0].rate_per_s, wish.warmup_s) if wish.warmup_s else ()
        load = OpenLoop(ahead + stages, wish.seed)
        watches_memory = name == "soak"
        return Scenario(label, load, wish.warmup_s, wish.bound_ms, is_level, watches_memory)

    if name == "single-stream":
        return Scenario(name, ClosedLoop(1, whole_s), wish.warmup_s, wish.bound_ms)
    if name == "clients":
        load = ClosedLoop(wish.clients, whole_s)
        return Scenario(f"{wish.clients} clients", load, wish.warmup_s, wish.bound_ms)
    if name == "multi-stream":
        streams = MultiStream(wish.images_per_query, whole_s)
        return Scenario(name, streams, wish.warmup_s, wish.bound_ms)
    if name == "offline":
        return Scenario(name, Offline(wish.images), offline_warmup_s(wish), None)
    if name == "step":
        stairs = step(rate / 2, rate, 5, wish.duration_s)
        return open_loop(f"{name} to {rate:g}/s", stairs, is_level=False)
    if name == "spike":
        leap = spike(rate / 2, rate * 3 / 2, wish.duration_s)
        return open_loop(f"{name} to {rate * 3 / 2:g}/s", leap, is_level=False)
    return open_loop(f"{name} at {rate:g}/s", steady(rate, wish.duration_s), is_level=True)


def offline_warmup_s(wish: Wish) -> float:
    """How long `offline` warms up: until all that was sent at once, and as many again, is done."""
    return max(wish.warmup_s, round(2 * IN_FLIGHT / wish.rate_per_s, 1))
