"""The times of the curve: exported as served, timed in turns, written beside the accuracies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

from small_recipes import make_small
from thyroid_benchmarks import curve_command
from thyroid_benchmarks.curve_times import export_variants, open_variants, time_in_turns
from thyroid_pipeline import contract
from thyroid_training.checkpoint import config_metadata, load_segmentation_graph
from thyroid_training.curve_variants import variants

FIGURE = {"estimate": 0.7, "low": 0.6, "high": 0.8}
DOCUMENT: dict[str, Any] = {
    "protocol": {"images": 398},
    "segmentation": [
        {
            "name": "side_192",
            "side_px": 192,
            "encoder": "EfficientNet-Lite0, ImageNet",
            "transformer_layers": 1,
            "decoder_widths": [8],
            "shipped": True,
            "dice_mean": FIGURE,
            "dice_mean_by_fold": {"0": 0.7},
        }
    ],
    "classification": [
        {
            "name": "region_96",
            "side_px": 96,
            "shipped": False,
            "auroc": FIGURE,
            "auroc_less_shipped": FIGURE,
        }
    ],
}
NAMES = ["side_192", "region_96"]


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_small(monkeypatch)
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return export_variants(DOCUMENT, tmp_path_factory.mktemp("variants"))


def test_what_was_not_fitted_is_exported_as_well(tmp_path: Path) -> None:
    document = {"segmentation": [], "classification": [], "unfitted": [{"name": "layers_0"}]}
    (run,) = open_variants(export_variants(document, tmp_path), threads=1, seed=0).values()
    outputs: Any = run()
    assert outputs[0].shape[1:] == contract.NODULE_PROBABILITY.shape


def test_every_network_takes_and_gives_what_is_served(files: dict[str, Path]) -> None:
    assert list(files) == NAMES
    session = onnxruntime.InferenceSession(str(files["side_192"]))
    assert [node.shape[1:] for node in session.get_inputs()] == [list(contract.FRAME.shape)]
    probability, score = session.run(None, {"frame": np.zeros((2, 1, 448, 448), np.uint8)})
    assert probability.shape == (2, *contract.NODULE_PROBABILITY.shape)
    assert score.shape == (2, 1)
    session = onnxruntime.InferenceSession(str(files["region_96"]))
    shapes = {node.name: node.shape[1:] for node in session.get_outputs()}
    assert shapes == {"malignancy": [1], "evidence": [3, 3], "decision": [1]}


def test_an_exported_graph_of_another_side_answers_as_in_training(
    files: dict[str, Path], tmp_path: Path
) -> None:
    """The downsample that is no pool, and the way back, mean the same to ONNX Runtime."""
    model = onnx.load(files["side_192"])
    (head,) = (one for one in model.graph.initializer if one.name == "network.head.weight")
    # Fresh weights say the same of every pixel.
    head.CopyFrom(onnx.numpy_helper.from_array(100 * onnx.numpy_helper.to_array(head), head.name))
    onnx.helper.set_model_props(model, config_metadata(variants()["side_192"]))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    frame = np.random.default_rng(1).integers(0, 256, (1, *contract.FRAME.shape), np.uint8)
    with torch.no_grad():
        wanted = load_segmentation_graph(path)(torch.from_numpy(frame))[0].numpy()
    got = onnxruntime.InferenceSession(str(path)).run(["nodule_probability"], {"frame": frame})[0]
    assert np.abs(got.astype(int) - wanted.astype(int)).max() <= 1  # rounding may fall either way
    assert len(np.unique(got)) > 20


def test_sessions_run_what_they_are_given(files: dict[str, Path]) -> None:
    runs = open_variants(files, threads=1, seed=0)
    assert list(runs) == NAMES
    for run in runs.values():
        outputs: Any = run()
        assert all(len(output) == 1 for output in outputs)


def test_medians_are_those_of_known_times() -> None:
    """On a clock that only the runs put forward; the first, slow round does not count."""
    now_s = 0.0
    calls: list[str] = []

    def runner(name: str, times_s: list[float]) -> Any:
        left = list(times_s)

        def run() -> None:
            nonlocal now_s
            calls.append(name)
            now_s += left.pop(0)

        return run

    runs = {
        ("slow", 1): runner("slow", [9.0, *[0.030] * 6, 0.500]),
        ("fast", 1): runner("fast", [9.0, *[0.010] * 7]),
    }
    times = time_in_turns(runs, 7, clock=lambda: now_s)
    assert times["slow", 1].value == pytest.approx(30)
    assert times["fast", 1].value == pytest.approx(10)
    assert times["slow", 1].high == pytest.approx(500)
    rounds = [calls[start : start + 2] for start in range(0, 16, 2)]
    assert all(Counter(part) == {"slow": 1, "fast": 1} for part in rounds)
    assert len({tuple(part) for part in rounds}) == 2, "the order never changed"


def test_no_round_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0 rounds came; at least 1 was wanted"):
        time_in_turns({}, 0)


def test_the_command_adds_times_and_draws(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They were exported above, which takes the most time of all.
    monkeypatch.setattr(curve_command, "export_variants", lambda *_: files)
    monkeypatch.setattr(curve_command, "usable_cores", lambda: 2)
    figures = tmp_path / "accuracy_curve.json"
    figures.write_text(json.dumps({**DOCUMENT, "times": {"threads": [7]}}))
    result = CliRunner().invoke(
        curve_command.main,
        [str(figures), "--rounds", "2", "--also", "layers_1", "--also", "side_192"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    written = json.loads(figures.read_text())
    (unfitted,) = written.pop("unfitted")  # the other was fitted
    assert (unfitted["name"], unfitted["transformer_layers"]) == ("layers_1", 1)
    assert {name: part for name, part in written.items() if name != "times"} == DOCUMENT
    times = written["times"]
    assert (times["threads"], times["rounds"]) == ([1, 2], 2)
    assert list(times["median_ms"]) == NAMES
    assert all(value["value"] > 0 for row in times["median_ms"].values() for value in row.values())
    assert times["machine"]["cores"] >= 1
    assert times["versions"]["onnxruntime"] == onnxruntime.__version__
    assert {"commit", "changed", "others_share_before", "seed"} <= set(times)
    assert figures.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "| **side_192, shipped** | 192 |" in result.output
