"""The whole benchmark, in a short and a full form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from thyroid_benchmarks.console import run_line
from thyroid_benchmarks.cross_check import CrossCheckPlan
from thyroid_benchmarks.knee import Knee, find_knee
from thyroid_benchmarks.measure import Measured, Subject, measure
from thyroid_benchmarks.peer_figures import PeerPlan
from thyroid_benchmarks.scenarios import Name, Wish, make_scenario
from thyroid_benchmarks.verdict import Rules

# Where there is no floor to go by, the search for the knee starts here.
_START_PER_S = 8.0
_START_SHARE = 0.7  # of the floor
_SERVER_SHARE = 0.6
_SOAK_SHARE = 0.8  # of the knee

Say = Callable[[str], object]


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        images: Size of the pool.
        floor_cases: Images of the floor.
        floor_rounds: Rounds of the floor.
        wish: Durations, bound and seed of every scenario.
        clients: Closed loops to run, by number of clients.
        others: Other scenarios, in order; each at the share of the floor that it takes.
        soak_s: Duration of the soak at 80% of the knee; 0 leaves it out.
        probe_s: Duration of a probe of the knee.
        max_probes: How many probes at most.
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
    others: tuple[Name, ...]
    soak_s: float
    probe_s: float
    max_probes: int
    resolution: float
    rules: Rules = field(default_factory=Rules)
    peers: PeerPlan = field(default_factory=PeerPlan)
    cross_check: CrossCheckPlan = field(default_factory=CrossCheckPlan)
    layouts: PeerPlan = field(default_factory=PeerPlan)


# Under 10 minutes on two cores, images and right answers included.
SHORT = Plan(
    images=150,
    floor_cases=20,
    floor_rounds=5,
    wish=Wish(duration_s=24, warmup_s=3, images=300),
    clients=(4, 8),
    others=("multi-stream", "server", "offline"),
    soak_s=0,
    probe_s=20,
    max_probes=6,
    resolution=0.1,
    peers=PeerPlan(rounds=2, layouts=("throughput",)),
    cross_check=CrossCheckPlan(rounds=2),
    layouts=PeerPlan(rounds=2, wish=Wish(duration_s=6, warmup_s=1.5)),
)
# About an hour.
FULL = Plan(
    images=600,
    floor_cases=50,
    floor_rounds=10,
    wish=Wish(duration_s=120, warmup_s=10, images=1500),
    clients=(2, 4, 8, 16),
    others=("multi-stream", "server", "offline", "step", "spike"),
    soak_s=600,
    probe_s=90,
    max_probes=10,
    resolution=0.05,
    rules=Rules(min_duration_s=60, min_requests=400),
    peers=PeerPlan(rounds=5, wish=Wish(duration_s=30, warmup_s=3)),
    cross_check=CrossCheckPlan(rounds=4, wish=Wish(duration_s=60, warmup_s=5)),
    layouts=PeerPlan(rounds=5, wish=Wish(duration_s=20, warmup_s=3)),
)


async def run_suite(
    plan: Plan, subject: Subject, floor_per_s: float | None, say: Say
) -> tuple[list[Measured], Knee[Measured]]:
    """Measure all scenarios of a plan, and the knee.

    Args:
        plan: What to measure.
        subject: On what.
        floor_per_s: The floor's rate with all cores at work, by which open loops are scaled; None
            where it was not measured.
        say: Told each run's line when it is done.

    Returns:
        The runs and the knee.
    """
    base_per_s = _START_PER_S / _START_SHARE if floor_per_s is None else floor_per_s
    served = replace(plan.wish, rate_per_s=round(_SERVER_SHARE * base_per_s, 2))
    wanted: list[tuple[Name, Wish]] = [("single-stream", plan.wish)]
    wanted += [("clients", replace(plan.wish, clients=count)) for count in plan.clients]
    wanted += [(name, served) for name in plan.others]
    runs = []
    for name, wish in wanted:
        runs.append(await measure(make_scenario(name, wish), subject))
        say(run_line(runs[-1]))
    knee = await search(
        subject,
        replace(plan.wish, duration_s=plan.probe_s),
        round(_START_SHARE * base_per_s, 2),
        resolution=plan.resolution,
        max_probes=plan.max_probes,
        say=say,
    )
    if plan.soak_s and knee.passed_per_s:
        rate = round(_SOAK_SHARE * knee.passed_per_s, 2)
        soak = replace(plan.wish, duration_s=plan.soak_s, rate_per_s=rate)
        runs.append(await measure(make_scenario("soak", soak), subject))
        say(run_line(runs[-1]))
    return runs, knee


async def search(
    subject: Subject,
    wish: Wish,
    start_per_s: float,
    *,
    resolution: float,
    max_probes: int,
    say: Say,
) -> Knee[Measured]:
    """Search for the highest rate at which p99 stays within the bound and nothing fails."""
    bound_ms = wish.bound_ms
    if bound_ms is None:
        raise ValueError("the knee came without a bound; one in ms was wanted: give `bound_ms`")

    async def probe(rate_per_s: float) -> tuple[bool, Measured]:
        scenario = make_scenario("server", replace(wish, rate_per_s=round(rate_per_s, 3)))
        run = await measure(scenario, subject)
        # Beyond the knee the queue grows and latencies with it: that is no fault of the run.
        passed = run.summary.failed == 0 and run.summary.latency_ms[99.0].value <= bound_ms
        say(f"{'passed' if passed else 'failed'}  {run_line(run)}")
        return passed, run

    return await find_knee(probe, start_per_s, resolution=resolution, max_probes=max_probes)
