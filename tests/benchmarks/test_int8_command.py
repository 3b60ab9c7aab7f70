"""The command from end to end on a miniature repository, and the tables of what it writes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from small_results import estimate
from small_sets import DDTI_ROWS, write_sets
from thyroid_benchmarks.int8_command import int8_instructions, main
from thyroid_benchmarks.int8_images import gather_images
from thyroid_benchmarks.int8_settings import SETTINGS
from thyroid_benchmarks.int8_table import int8_table, outcome_sentence
from thyroid_pipeline import contract

SMALL = ("--rounds", "2", "--phantoms", "3", "--calibration-limit", "2")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sets(tmp_path_factory.mktemp("sets"))


def call(out: Path, repository: Path, *options: str) -> Result:
    arguments = [str(out), "--model-repository", str(repository), *SMALL, *options]
    return CliRunner().invoke(main, arguments)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_both_networks_are_tried_and_nothing_is_left(
    miniature_repository: Path, sets: Path, tmp_path: Path
) -> None:
    before, out = digests(miniature_repository), tmp_path / "new" / "int8.json"
    result = call(out, miniature_repository, "--data", str(sets), "--data-limit", "4")
    assert result.exit_code == 0, result.output
    assert digests(miniature_repository) == before
    written = json.loads(out.read_text())
    assert written["protocol"]["calibration"] == "2 phantoms"
    assert written["protocol"]["outlined_images"] == 4
    assert {"machine", "versions", "commit", "seeds", "networks", "started"} <= set(written)
    for model, settings in SETTINGS.items():
        found = written[model.name]
        assert [row["name"] for row in found["settings"]] == [each.name for each in settings]
        assert 0 <= found["fp32"]["truth"] <= 1
        for row in found["settings"]:
            assert [each["images"] for each in row["agreement"]] == ["phantoms", "ddti"]
            assert row["ms"]["value"] > 0
            assert 0 < row["convolutions"] < row["all_convolutions"]
            assert 0 <= row["truth"] <= 1
    offered = {row["offered"]: row["name"] for row in written["resnet18"]["settings"]}
    assert offered["int8"] == "all-7bit"
    assert offered["int8-symmetric"] == "inner-symmetric"
    assert {row["offered"] for row in written["transunet"]["settings"]} == {None}
    assert int8_table(written) in result.output


def test_without_a_set_phantoms_judge_alone(miniature_repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.json"
    result = call(out, miniature_repository)
    assert result.exit_code == 0, result.output
    written = json.loads(out.read_text())
    assert written["protocol"]["calibration"] == "2 phantoms"
    for model in contract.NETWORKS:
        found = written[model.name]
        assert found["fp32"]["truth"] is None
        assert [each["images"] for each in found["settings"][0]["agreement"]] == ["phantoms"]


def test_what_is_missing_is_said_without_a_traceback(
    miniature_repository: Path, tmp_path: Path
) -> None:
    result = call(tmp_path / "int8.json", miniature_repository, "--data", str(tmp_path))
    assert result.exit_code == 1
    assert "manifest.csv does not exist: the folder of the DDTI set was wanted" in result.output
    assert not (tmp_path / "int8.json").exists()


def test_named_images_are_what_ranges_are_found_over(sets: Path) -> None:
    images = gather_images(
        phantoms=3, seed=0, calibration=2, folder=sets / "busi", data=sets, data_limit=100
    )
    assert images.calibration_text() == "2 phantoms, 2 busi"
    assert len(images.samples) == len(DDTI_ROWS)


def test_instructions_are_read_from_the_processor(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t\t: fpu avx512_vnni avx512_bf16 amx_int8\n")
    assert int8_instructions(cpuinfo) == ["avx512_vnni", "amx_int8"]
    assert int8_instructions(tmp_path / "none") is None


# --- tables


def setting(
    ratio: float,
    *,
    passes: bool,
    high: float | None = None,
    offered: str | None = None,
    **agreement: Any,
) -> Any:
    return {
        "name": "all-7bit",
        "scope": "all convolutions but the last",
        "numbers": "weights of 7 bit",
        "offered": offered,
        "convolutions": 20,
        "all_convolutions": 21,
        "ms": estimate(10 * ratio, 9 * ratio, 11 * ratio),
        "ms_over_fp32": estimate(ratio, ratio - 0.01, high or ratio + 0.01),
        "agreement": [{"images": "phantoms", "compared": 7, **agreement}],
        "truth": None,
        "passes": passes,
    }


MASKS: dict[str, Any] = {
    "mean_dice": 0.9912,
    "lowest_dice": 0.91,
    "frames": 8,
    "turned": 3,
    "largest_score_move": 0.71,
}
MOVES: dict[str, Any] = {"mean_move": 0.0012, "largest_move": 0.0123, "decisions_turned": 1}


def document(masks: list[Any], moves: list[Any]) -> dict[str, Any]:
    fp32 = {"ms": estimate(10.0, 9.0, 11.0), "truth": None}
    return {
        "started": "2026-01-01T00:00:00+00:00",
        "machine": {"processor": "A processor", "cores": 2, "int8_instructions": ["avx_vnni"]},
        "versions": {"onnxruntime": "1.2.3"},
        "commit": {"commit": "0123456789abcdef", "changed": False},
        "seeds": {"phantoms": 4, "order": 4},
        "networks": "abc",
        "others_share_before": 0.05,
        "protocol": {
            "threads": 1,
            "rounds": 60,
            "calibration": "2 phantoms",
            "phantoms": 8,
            "outlined_images": 0,
            "dice_from": 0.98,
            "score_within": 0.15,
            "malignancy_within": 0.03,
        },
        "transunet": {"fp32": fp32, "settings": masks},
        "resnet18": {"fp32": fp32, "settings": moves},
    }


def test_tables_hold_the_figures() -> None:
    text = int8_table(
        document(
            [setting(0.7, passes=False, **MASKS)],
            [setting(0.4, passes=True, offered="int8", **MOVES)],
        )
    )
    assert "commit 0123456789ab, networks abc, on A processor" in text
    lines = [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines()]
    masks, moves = (
        next(line for line in lines if line[-1:] == [word])
        for word in ("**does not pass**", "passes")
    )
    assert masks[:2] == [
        "all convolutions but the last; weights of 7 bit",
        "20 of 21 convolutions",
    ]
    assert moves[0] == "all convolutions but the last; weights of 7 bit (`int8`)"
    assert masks[2:6] == [
        "7.0 (6.3 to 7.7)",
        "0.700 (0.690 to 0.710)",
        "0.9912 (0.9100)",
        "0.710 (3 of 8)",
    ]
    assert moves[3:6] == ["0.400 (0.390 to 0.410)", "0.0012 (0.0123)", "1 of 7"]
    tables = [line for line in lines if line]
    assert {len(line) for line in tables if line[0] in {"TransUNet", "ResNet-18"}} == {8}


def test_the_outcome_is_the_fastest_that_passes() -> None:
    slow = setting(1.1, passes=True, **MOVES)
    unsure = setting(0.9, passes=True, high=1.1, **MOVES)
    said = outcome_sentence(
        document(
            [setting(0.7, passes=False, **MASKS), unsure, slow],
            [setting(0.6, passes=True, **MOVES), setting(0.4, passes=True, **MOVES), slow],
        )
    )
    assert "TransUNet: no setting passes and takes less time than FP32." in said
    assert "ResNet-18: of the settings that pass, the fastest takes 0.40 of FP32's time" in said
