"""Layouts: their repositories, their figures beside the floor, and their page."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from thyroid_benchmarks.cli import main
from thyroid_benchmarks.estimates import Estimate
from thyroid_benchmarks.floor import Floor
from thyroid_benchmarks.layouts_contestants import Layout, as_contestants, make_layouts
from thyroid_benchmarks.layouts_repositories import (
    FINDER,
    JUDGE,
    batched,
    derive,
    derive_frames,
    derive_fused,
    derive_two_calls,
    fixed,
)
from thyroid_benchmarks.layouts_results import layout_lines, layouts_document
from thyroid_benchmarks.measure import Subject
from thyroid_benchmarks.peer_environment import PeerUnavailableError
from thyroid_benchmarks.peer_figures import Comparison, Contestant, PeerPlan, PeerRun
from thyroid_benchmarks.peer_list import OURS
from thyroid_benchmarks.pool import Case, Pool
from thyroid_benchmarks.report import render_report
from thyroid_benchmarks.results import document
from thyroid_benchmarks.run_off import RunOff
from thyroid_benchmarks.verdict import Rules
from thyroid_pipeline import contract
from thyroid_server.repository import check_repository
from thyroid_server.workspace import backend_names

NETWORKS = {model.name for model in contract.NETWORKS}
SUBJECT = Subject(
    "", Pool((Case(0, "nodule", "PNG", 80, 120),), (b"image",), 1), None, None, Rules(), 1
)


def read(file: Path) -> ModelConfig:
    return text_format.Parse(file.read_text(), ModelConfig())


def configs(folder: Path) -> dict[str, ModelConfig]:
    return {file.parent.name: read(file) for file in folder.glob("*/config.pbtxt")}


def ours(model_repository: Path) -> dict[str, ModelConfig]:
    return {
        model.name: read(
            model_repository / model.name / "configs" / f"{contract.CPU_PROFILE}.pbtxt"
        )
        for model in contract.MODELS
    }


def test_a_fixed_layout_differs_in_instances_and_threads_alone(
    tmp_path: Path, model_repository: Path
) -> None:
    derive(tmp_path / "models", model_repository, fixed(3, 5))
    wanted = ours(model_repository)
    for name in NETWORKS:
        assert wanted[name].parameters["share_cores"].string_value == "1"
        del wanted[name].parameters["share_cores"]
        wanted[name].parameters["intra_op_thread_count"].string_value = "5"
        wanted[name].instance_group[0].count = 3
    assert configs(tmp_path / "models") == wanted
    for model in contract.STEPS:
        version = tmp_path / "models" / model.name / contract.MODEL_VERSION
        assert version.samefile(model_repository / model.name / contract.MODEL_VERSION)


def test_a_batched_layout_gathers_before_the_networks_alone(
    tmp_path: Path, model_repository: Path
) -> None:
    derive(tmp_path / "models", model_repository, batched(2.5))
    wanted = ours(model_repository)
    for name in NETWORKS:
        batching = wanted[name].dynamic_batching
        assert list(batching.preferred_batch_size) == [1]
        del batching.preferred_batch_size[:]
        batching.max_queue_delay_microseconds = 2500
    assert configs(tmp_path / "models") == wanted


def test_every_repository_is_one_that_a_server_takes(
    tmp_path: Path, model_repository: Path
) -> None:
    derive_two_calls(tmp_path / "two", model_repository)
    derive_frames(tmp_path / "frames", model_repository)
    derive_fused(tmp_path / "fused", model_repository, 2)
    for folder in ("two", "frames", "fused"):
        check_repository(tmp_path / folder, None, backend_names())


def test_the_second_call_needs_nothing_that_the_first_does_not_give() -> None:
    assert set(JUDGE.inputs) <= set(FINDER.outputs)
    assert set(contract.ENSEMBLE.outputs) <= {*FINDER.outputs, *JUDGE.outputs}


@pytest.mark.parametrize(
    ("cores", "fixed_names"),
    [(1, ["1x1", "1x2"]), (2, ["2x1", "2x2", "1x2"]), (8, ["8x1", "8x8", "1x8", "4x2"])],
)
def test_ours_comes_first_and_names_are_unique(
    model_repository: Path, cores: int, fixed_names: list[str]
) -> None:
    layouts = make_layouts(model_repository, cores)
    names = [layout.name for layout in layouts]
    assert names[0] == OURS
    assert len(set(names)) == len(names)
    assert [layout.name for layout in layouts if layout.is_fixed] == fixed_names


def test_a_client_that_decodes_may_use_more_of_the_processor(model_repository: Path) -> None:
    contestants = as_contestants(make_layouts(model_repository, 2), model_repository)
    allowed = {one.name: one.rules(Rules()).max_generator_share for one in contestants}
    assert allowed.pop("client-frames") > Rules().max_generator_share
    assert set(allowed.values()) == {Rules().max_generator_share}


def test_a_layout_that_does_not_start_is_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (one,) = as_contestants([Layout(OURS, "an empty repository")], tmp_path / "models")
    with pytest.raises(PeerUnavailableError, match="holds no model"), one.open():
        pass


FLOOR = Floor(
    cores=2,
    sequential_per_s=Estimate(10.0, 10.0, 10.0),
    sequential_ms=Estimate(100.0, 99.0, 101.0),
    parallel_per_s=Estimate(20.0, 20.0, 20.0),
    parallel_ms=Estimate(100.0, 99.0, 101.0),
    gain=Estimate(2.0, 2.0, 2.0),
    network_ms={"transunet": Estimate(60.0, 59.0, 61.0)},
)
LAYOUTS = [
    Layout(OURS, "ours"),
    Layout("2x1", "good at 8", is_fixed=True),
    Layout("2x2", "good at 1", is_fixed=True),
    Layout("fused", "not fixed, and best of all"),
]
# Screenings per second of both rounds, by layout and clients.
RATES = {
    (OURS, 1): (9.5, 9.0),
    ("2x1", 1): (5.0, 5.0),
    ("2x2", 1): (10.0, 9.0),
    ("fused", 1): (19.0, 18.0),
    (OURS, 8): (19.0, 18.0),
    ("2x1", 8): (20.0, 18.0),
    ("2x2", 8): (15.0, 19.0),
    ("fused", 8): (38.0, 36.0),
}


def measured(rate: float) -> Any:
    latency_ms = {50.0: Estimate(500 / rate, None, None), 95.0: Estimate(1000 / rate, None, None)}
    summary = SimpleNamespace(
        rate_per_s=Estimate(rate, None, None), latency_ms=latency_ms, failed=0, screenings=9
    )
    return SimpleNamespace(
        summary=summary,
        observed=SimpleNamespace(faults=()),
        verdict=SimpleNamespace(word="VALID", valid=True, reasons=()),
        as_dict=lambda: {"rate": rate},
        server_cpu_ms=1000 / rate,
    )


@contextlib.contextmanager
def nothing() -> Iterator[Any]:
    yield None


def run_offs(comparison: Comparison) -> list[RunOff]:
    """As if the rounds of all had been those of the run-offs."""
    best = {1: "2x2", 8: "2x1"}
    return [
        RunOff(clients, {"rate_per_s": title, "p95_ms": title}, comparison)
        for clients, title in best.items()
    ]


@pytest.fixture
def comparison() -> Comparison:
    contestants = tuple(
        Contestant(layout.name, "", layout.about, nothing, {}) for layout in LAYOUTS
    )
    runs = tuple(
        PeerRun(name, clients, number, measured(rate))
        for (name, clients), rates in RATES.items()
        for number, rate in enumerate(rates)
    )
    return Comparison(contestants, runs, {}, PeerPlan(clients=(1, 8), rounds=2))


def test_the_document_holds_every_share_of_the_floor(comparison: Comparison) -> None:
    found = layouts_document(comparison, run_offs(comparison), LAYOUTS, FLOOR)
    json.dumps(found, allow_nan=False)
    shares = {
        (one["title"], point["clients"]): point["efficiency"]["value"]
        for one in found["contestants"]
        for point in one["points"]
    }
    assert shares[OURS, 1] == pytest.approx(9.25 / 10)
    assert shares[OURS, 8] == pytest.approx(18.5 / 20)
    assert [one["clients"] for one in found["best"]] == [1, 8]
    # In one round 9.5 of 10, in the other 9 of 9.
    assert found["best"][0]["rate"]["low"] == pytest.approx(0.95)
    assert found["best"][0]["rate"]["high"] == pytest.approx(1.0)


def test_what_was_not_measured_is_left_open(comparison: Comparison) -> None:
    faulty = Comparison(
        comparison.contestants,
        tuple(run for run in comparison.runs if run.title == "fused"),
        {OURS: "it did not start"},
        comparison.plan,
    )
    nobody = [RunOff(clients, {}, None) for clients in (1, 8)]
    found = layouts_document(faulty, nobody, LAYOUTS, FLOOR)
    assert [(one["rate"], one["p95"]) for one in found["best"]] == [(None, None)] * 2
    assert "it did not start" in layout_lines(faulty, nobody, FLOOR)
    assert "not measured to the end: it did not start" in page(found)


def page(section: dict[str, Any]) -> str:
    checkout = Path(__file__).parent
    result = document(SUBJECT, started="2026-01-01T00:00:00+00:00", checkout=checkout, floor=FLOOR)
    return render_report(result | {"layouts": section})


def test_the_page_shows_the_layouts(comparison: Comparison) -> None:
    text = page(layouts_document(comparison, run_offs(comparison), LAYOUTS, FLOOR))
    assert "Our layout and others" in text
    assert "screenings per second, over ours" in text  # the picture
    assert "not fixed, and best of all" in text
    assert "19.00" in text
    assert "Our layout and others" not in render_report(
        document(SUBJECT, started="2026-01-01T00:00:00+00:00", checkout=Path(), floor=FLOOR)
    )


def test_the_lines_say_each_rate_and_its_share(comparison: Comparison) -> None:
    text = layout_lines(comparison, run_offs(comparison), FLOOR)
    assert "1: 9.25 (9.00 to 9.50)/s, 0.93 of the floor" in text
    assert "ours over the best fixed layout, 2x1, 8 clients, rate_per_s: 0.97 (0.95" in text


def test_an_unknown_layout_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["layouts", "--only", "9x9x9", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "there is no layout 9x9x9" in done.output
