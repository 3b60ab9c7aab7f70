"""What is served: fitted on everything, with the figures that the folds gave."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from miniatures import TINY_COMPACT
from small_recipes import make_small, write_recipe
from small_sets import write_sets
from thyroid_pipeline import contract
from thyroid_training import final
from thyroid_training.final import fit_served
from thyroid_training.fit_segmentation import predict
from thyroid_training.fold_fits import FoldFits, read_sets
from thyroid_training.fold_outcome import known_features
from thyroid_training.forest_run import load_forest_run, training_table
from thyroid_training.ood import OodGate
from thyroid_training.protocol import FOLDS
from thyroid_training.recipe import read_recipe
from thyroid_training.resnet18 import ResNet18
from thyroid_training.runs import Run
from thyroid_training.serving import ClassificationGraph, SegmentationGraph
from thyroid_training.stages import StartingWeights
from thyroid_training.transunet import TransUNet

SERVED = {
    "classifier": "ResNet-18",
    "calibration": {"scale": 0.75, "offset": -0.25},
    "operating_point": {
        "routine_below": 0.25,
        "refer_from": 0.5,
        "threshold": 0.375,
        "sensitivity": 0.95,
    },
    "gate_limits": [1.5, 2.5],
    "decisions_out_of_fold": {},
}


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_small(monkeypatch)
        yield


class Numbered(TransUNet):
    """Knows which fold it never saw."""

    fold: int | None


def map_of(fold: int | None) -> NDArray[np.uint8]:
    """All of a frame is nodule but a part on the left, which each fold's network leaves out."""
    side = contract.MAP_SIDE_PX
    answer = np.full((side, side), 255, np.uint8)
    answer[:, : 15 * (FOLDS if fold is None else fold)] = 0
    return answer


def predict_by_number(
    network: Numbered, frames: Sequence[NDArray[np.uint8]]
) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
    return [map_of(network.fold)] * len(frames), predict(network, frames)[1]


class Unfitted(FoldFits):
    """Networks that were not fitted; it notes who asked for them."""

    asked: list[tuple[str, int | None]]

    def segmentation(self, fold: int | None) -> TransUNet:
        self.asked.append(("segmentation", fold))
        torch.manual_seed(0)
        network = Numbered(TINY_COMPACT).eval()
        network.fold = fold
        return network

    def classification(self, fold: int | None, segmentation: TransUNet, seed: int) -> ResNet18:
        self.asked.append((f"classification of seed {seed}", fold))
        torch.manual_seed(seed)
        return ResNet18().eval()


@pytest.fixture(scope="module")
def fits(small: None, tmp_path_factory: pytest.TempPathFactory) -> Unfitted:
    folder = tmp_path_factory.mktemp("final")
    data = write_sets(folder / "data")
    recipe = read_recipe(write_recipe(folder / "small.toml"))
    fits = Unfitted(recipe, read_sets(data), folder / "runs", StartingWeights())
    fits.asked = []
    return fits


def write_report(folder: Path, served: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "cross_validation.json").write_text(json.dumps({"served": served}))
    return folder


@pytest.fixture(scope="module")
def folders(fits: Unfitted, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(final, "predict", predict_by_number)
        return fit_served(fits, write_report(folder / "report", SERVED), folder / "runs")


def test_three_runs_are_kept(fits: Unfitted, folders: list[Path]) -> None:
    assert [folder.name for folder in folders] == ["transunet", "resnet18", "morphology_forest"]
    records = [json.loads((folder / "run.json").read_text()) for folder in folders]
    assert [record["network"] for record in records] == [
        "transunet-compact",
        "resnet18",
        "morphology_forest",
    ]
    assert {record["data"]["ddti"] for record in records} == {13}
    wanted = {name: SERVED[name] for name in ("calibration", "operating_point", "gate_limits")}
    for record in records[:2]:
        assert record["out_of_fold"] == wanted
        assert record["recipe"]["size"] == "compact"
    # What is served sees all; the folds' networks are asked for the forest alone.
    assert fits.asked == [
        ("segmentation", None),
        ("classification of seed 0", None),
        *(("segmentation", fold) for fold in range(FOLDS)),
    ]


def test_the_classifier_carries_calibration_and_operating_point(folders: list[Path]) -> None:
    graph = ClassificationGraph(ResNet18())
    Run(folders[1]).load_into(graph)
    assert graph.calibration.tolist() == [0.75, -0.25]
    assert graph.operating_point.tolist() == [0.25, 0.5]


def test_the_gate_knows_thyroids_and_phantoms_by_the_limits_found(
    fits: Unfitted, folders: list[Path]
) -> None:
    network = TransUNet(TINY_COMPACT)
    graph = SegmentationGraph(network, OodGate(2, network.feature_count))
    Run(folders[0]).load_into(graph)
    _, seen = predict(graph.network, [sample.frame for sample in fits.sets.ddti])
    known = known_features(graph.network, fits.sets.ddti, seen, fits.recipe)
    assert len(known.thyroids) % len(fits.sets.ddti) == 0
    for number, (features, limit) in enumerate(((known.thyroids, 1.5), (known.phantoms, 2.5))):
        whitened = (torch.from_numpy(features) - graph.gate.mean[number]).numpy()
        whitened = whitened @ graph.gate.whitening[number].numpy()
        own = np.sqrt(np.square(whitened).mean(axis=1))
        # The limit is so many times the distance of the middle one of the frames it is made of.
        assert graph.gate.limit[number].item() == pytest.approx(limit * np.median(own), rel=1e-3)
    frames = np.array([sample.frame for sample in fits.sets.ddti])
    with torch.no_grad():
        _, scores = graph(torch.from_numpy(frames)[:, None])
    assert (scores > 0).all()


def test_the_forest_learns_from_predictions_out_of_fold(
    fits: Unfitted, folders: list[Path]
) -> None:
    samples = fits.sets.ddti
    fold_of = {sample.name: fold for fold in range(FOLDS) for sample in fits.held_out(fold)}
    wanted = training_table(samples, [map_of(fold_of[sample.name]) for sample in samples])
    with np.load(folders[2] / "table.npz") as arrays:
        np.testing.assert_array_equal(arrays["morphology"], wanted.morphology)
        np.testing.assert_array_equal(arrays["labels"], wanted.labels)
    in_sample = training_table(samples, [map_of(None)] * len(samples))
    assert not np.array_equal(wanted.morphology, in_sample.morphology), "all folds predict alike"
    forest, _ = load_forest_run(folders[2])
    assert forest.config == fits.recipe.forest


def test_without_a_report_nothing_is_fitted(
    fits: Unfitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fits, "asked", [])
    with pytest.raises(FileNotFoundError, match=r"the report of .* was wanted, .* run that first"):
        fit_served(fits, tmp_path / "report", tmp_path / "runs")
    assert not fits.asked
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("missing", ["calibration", "operating_point", "gate_limits"])
def test_a_report_that_lacks_a_figure_is_told(
    fits: Unfitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(fits, "asked", [])
    served = {name: value for name, value in SERVED.items() if name != missing}
    with pytest.raises(ValueError, match=rf"says nothing of {missing};.*: run that again"):
        fit_served(fits, write_report(tmp_path / "report", served), tmp_path / "runs")
    assert not fits.asked
