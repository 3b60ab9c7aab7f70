"""What the suite takes of the comparisons, with a fake in the place of the load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from thyroid_benchmarks import cli_comparisons
from thyroid_benchmarks.cli_comparisons import measured_tutorial
from thyroid_benchmarks.cli_parts import Setting
from thyroid_benchmarks.measure import Subject
from thyroid_benchmarks.peer_figures import Comparison, Contestant, PeerPlan
from thyroid_benchmarks.peer_list import OURS, TUTORIAL
from thyroid_benchmarks.pool import Case, Pool
from thyroid_benchmarks.verdict import Rules


def test_the_short_comparison_fetches_nothing_and_has_eight_clients(
    tmp_path: Path, model_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[str], PeerPlan]] = []

    async def compare(
        contestants: list[Contestant], subject: Subject, plan: PeerPlan, *_: Any, **__: Any
    ) -> Comparison:
        seen.append(([one.title for one in contestants], plan))
        return Comparison(tuple(contestants), (), {}, plan)

    def fetch(*_: Any) -> None:
        raise AssertionError("an environment was made")

    monkeypatch.setattr(cli_comparisons, "compare_peers", compare)
    monkeypatch.setattr("thyroid_benchmarks.peer_contestants.make_environment", fetch)
    pool = Pool((Case(0, "nodule", "PNG", 80, 120),), (b"image",), 1)
    subject = Subject("", pool, None, None, Rules(), 1)
    setting = Setting(model_repository, tmp_path / "out", 1)
    part, runs = measured_tutorial(subject, setting)
    ((titles, plan),) = seen
    assert titles == [OURS, TUTORIAL]
    assert (plan.clients, plan.rounds) == ((8,), 2)
    assert plan.wish.duration_s >= plan.rules.min_duration_s
    assert [one["title"] for one in part["contestants"]] == titles
    # Nothing is said of a best peer: none was measured.
    (best,) = part["best"]
    assert (best["clients"], best["rate"], best["p95"]) == (8, None, None)
    assert runs == []
