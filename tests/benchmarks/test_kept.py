"""What is kept of a result: all parts, readable as results, and the very same tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from small_results import (
    DRIFTED,
    FLOOR,
    VALID,
    checked,
    comparison,
    contestant,
    document,
    point,
    run,
)
from thyroid_benchmarks.cli import main
from thyroid_benchmarks.kept import split
from thyroid_benchmarks.performance_comparisons import rates_table, ratios_table
from thyroid_benchmarks.results import read_result

PEERS = comparison(
    {8: (0.96, 0.9)},
    [contestant("ours", [point(8, 16.0, 1.0, (VALID, DRIFTED))])],
    [{"run": "ours, 8 clients, round 2", "reasons": DRIFTED["reasons"]}],
)
WHOLE = document(
    floor=FLOOR,
    runs=[run("8 clients", 16.0)],
    peers=PEERS,
    layouts={**PEERS, "floor": FLOOR},
    cross_check=checked(100.0, 104.0, agrees=True, reasons=[]),
)


def test_a_whole_result_is_divided() -> None:
    found = split(WHOLE)
    assert sorted(found) == ["cross_check", "layouts", "peers", "suite"]
    assert found["suite"]["runs"] == WHOLE["runs"]
    assert "peers" not in found["suite"]
    assert found["cross_check"]["cross_check"] == WHOLE["cross_check"]
    assert found["peers"]["runs"] == []
    assert found["layouts"]["layouts"]["floor"] == FLOOR
    assert all(one["machine"] == WHOLE["machine"] for one in found.values())


def test_tables_are_those_of_the_whole() -> None:
    for part in ("peers", "layouts"):
        kept = split(WHOLE)[part]
        for make in (rates_table, ratios_table):
            assert make(kept, part) == make(WHOLE, part)
        (one,) = kept[part]["contestants"]
        reasons = [run["verdict"]["reasons"] for run in one["points"][0]["runs"]]
        assert reasons == [[], DRIFTED["reasons"]]
        assert "windows" not in json.dumps(kept)


def test_a_soak_has_a_file_of_its_own() -> None:
    soak, crowd = run("soak at 12/s", 12.0), run("8 clients", 16.0)
    both = split(document(floor=FLOOR, runs=[crowd, soak]))
    assert sorted(both) == ["soak", "suite"]
    assert both["suite"]["runs"] == [crowd]
    assert both["soak"]["runs"] == [soak]
    assert both["soak"]["floor"] is None
    # Alone it takes no suite's place.
    assert sorted(split(document(runs=[soak]))) == ["soak"]


def test_the_command_replaces_what_was_measured_anew(tmp_path: Path) -> None:
    result, into = tmp_path / "result.json", tmp_path / "kept"
    result.write_text(json.dumps(WHOLE))
    done = CliRunner().invoke(main, ["keep", str(result), "--into", str(into)])
    assert done.exit_code == 0, done.output
    assert len(done.output.splitlines()) == len(list(into.iterdir())) == 4
    before = (into / "suite.json").read_text()
    result.write_text(json.dumps(document(started="later", peers=PEERS)))
    done = CliRunner().invoke(main, ["keep", str(result), "--into", str(into)])
    assert done.exit_code == 0, done.output
    assert read_result(into / "peers.json")["started"] == "later"
    assert (into / "suite.json").read_text() == before


def test_the_tutorials_ensemble_alone_replaces_no_peers() -> None:
    contestants = [
        contestant(name, [point(8, 16.0, 1.0, (VALID,))]) for name in ("ours", "tutorial-ensemble")
    ]
    alone = comparison({8: (0.96, 0.9)}, contestants)
    found = split(document(floor=FLOOR, runs=[run("8 clients", 16.0)], peers=alone))
    assert sorted(found) == ["suite"]


def test_a_result_without_a_part_is_refused(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    result.write_text(json.dumps(document()))
    done = CliRunner().invoke(main, ["keep", str(result), "--into", str(tmp_path)])
    assert done.exit_code == 1
    assert "neither scenarios nor a comparison" in done.output


@pytest.mark.parametrize("part", ["suite", "layouts", "peers", "cross_check", "soak"])
def test_the_kept_files_are_small_and_readable(checkout: Path, part: str) -> None:
    path = checkout / "docs" / "figures" / "performance" / f"{part}.json"
    assert path.stat().st_size < 300_000
    assert sorted(split(read_result(path))) == [part]
