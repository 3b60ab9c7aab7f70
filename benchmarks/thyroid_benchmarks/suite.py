"""How much the whole benchmark measures, in a short and a full form."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from thyroid_benchmarks.cross_check import CrossCheckPlan
from thyroid_benchmarks.peer_figures import PeerPlan
from thyroid_benchmarks.scenarios import Name, OpenLoop, Wish, make_scenario
from thyroid_benchmarks.verdict import Rules

BASE_CLIENTS = 8
"""What so many clients are served is the rate by which the open loops are scaled."""


@dataclass(frozen=True)
class Plan:
    """How much is measured; `plan_duration` says how long that takes.

    Attributes:
        images: Size of the pool.
        floor_cases: Images of the floor.
        floor_rounds: Rounds of the floor.
        wish: Durations, bound and seed of every scenario.
        clients: Closed loops to run beside that of one client; `BASE_CLIENTS` among them.
        shapes: Scenarios that are scaled by the knee.
        soak_s: Duration of the soak at 80% of the knee; 0 leaves it out.
        probe_s: Duration of a probe of the knee.
        max_probes: How many probes at most.
        confirm_s: Duration of the run that confirms the knee.
        resolution: Of the knee, as a share.
        rules: What runs must keep to.
        peers: The comparison with peers, where it is wanted.
        cross_check: The cross-check by perf_analyzer, likewise.
        layouts: The comparison with other layouts of ours, likewise.
    """

    images: int
    floor_cases: int
    floor_rounds: int
    wish: Wish
    clients: tuple[int, ...]
    shapes: tuple[Name, ...]
    soak_s: float
    probe_s: float
    max_probes: int
    confirm_s: float
    resolution: float
    rules: Rules = field(default_factory=Rules)
    peers: PeerPlan = field(default_factory=PeerPlan)
    cross_check: CrossCheckPlan = field(default_factory=CrossCheckPlan)
    layouts: PeerPlan = field(default_factory=PeerPlan)

    def __post_init__(self) -> None:
        if BASE_CLIENTS not in self.clients:
            raise ValueError(
                f"`clients` is {self.clients}; {BASE_CLIENTS} was wanted among them: their rate "
                "scales the open loops"
            )


def long_enough(name: Name, wish: Wish, rules: Rules) -> Wish:
    """Lengthen an open loop until it has the requests that its verdict asks for.

    Arrivals are random: a tenth more are planned than are wanted. What another loop will send is
    not known before, and its wish stays as it is.
    """
    load = make_scenario(name, replace(wish, warmup_s=0)).load
    if not isinstance(load, OpenLoop):
        return wish
    needed_s = math.ceil(1.1 * rules.min_requests / load.mean_per_s)
    return replace(wish, duration_s=max(wish.duration_s, needed_s))


# What a suite without the peers says of how ours compares.
TUTORIAL_PLAN = PeerPlan(
    clients=(BASE_CLIENTS,), rounds=2, wish=Wish(duration_s=10, warmup_s=2), layouts=()
)
# Under 10 minutes on two cores, images and right answers included.
SHORT = Plan(
    images=120,
    floor_cases=20,
    floor_rounds=5,
    wish=Wish(duration_s=22, warmup_s=3),
    clients=(4, BASE_CLIENTS),
    shapes=(),
    soak_s=0,
    probe_s=20,
    max_probes=4,
    confirm_s=24,
    resolution=0.1,
    peers=PeerPlan(rounds=2, layouts=("throughput",)),
    cross_check=CrossCheckPlan(rounds=2),
    layouts=PeerPlan(rounds=2, wish=Wish(duration_s=6, warmup_s=1.5)),
)
# Under two hours, with all that is compared: who doubts a figure can measure it anew. A
# probe of 45 s has 400 requests from 9/s on: with so many a 99th percentile has an upper end.
FULL = Plan(
    images=240,
    floor_cases=40,
    floor_rounds=8,
    wish=Wish(duration_s=45, warmup_s=6),
    clients=(4, BASE_CLIENTS, 16),
    shapes=("step", "spike"),
    soak_s=600,
    probe_s=45,
    max_probes=6,
    confirm_s=60,
    resolution=0.05,
    rules=Rules(min_duration_s=30, min_requests=400),
    peers=PeerPlan(rounds=2, wish=Wish(duration_s=10, warmup_s=1.5)),
    cross_check=CrossCheckPlan(rounds=2, wish=Wish(duration_s=20, warmup_s=2)),
    layouts=PeerPlan(rounds=2, wish=Wish(duration_s=8, warmup_s=1.5)),
)
