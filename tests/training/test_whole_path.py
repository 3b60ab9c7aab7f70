"""From a folder of images to models that are served: every command, one after the other."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner, Result

from small_recipes import make_small, write_recipe
from small_sets import DDTI_ROWS, write_sets
from thyroid_export import export_onnx
from thyroid_export.cli import main as export
from thyroid_pipeline import contract
from thyroid_training import fold_fits, stages
from thyroid_training.checkpoint import (
    load_classification_graph,
    load_segmentation_graph,
    onnx_path,
)
from thyroid_training.cli import main as train
from thyroid_training.forest import forest_malignancy
from thyroid_training.forest_run import load_forest_run
from thyroid_training.offline import OfflinePipeline
from thyroid_training.protocol import FOLDS

GRADED = [row for row in DDTI_ROWS if row.get("label")]


def call(command: Any, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def run(command: Any, *arguments: object) -> str:
    result = call(command, *arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_small(monkeypatch)
        monkeypatch.setattr(export_onnx, "_PARITY_COUNT", 2)
        yield


def count_fits(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is fitted from now on, and still fit it."""
    counts: Counter[str] = Counter()

    def counted(name: str, fit: Callable[..., Any]) -> Callable[..., Any]:
        def fit_and_count(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            return fit(*arguments, **options)

        return fit_and_count

    for name in ("fit_segmentation", "fit_classification", "fit_linear_layer"):
        monkeypatch.setattr(stages, name, counted(name, getattr(stages, name)))
    return counts


@dataclass(frozen=True)
class Judged:
    """A cross-validation that was interrupted once, and then done."""

    options: tuple[object, ...]
    data: Path
    runs: Path
    interrupted: Result
    fits_before: list[str]
    fits_after: Counter[str]
    output: str


@pytest.fixture(scope="module")
def judged(small: None, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    folder = tmp_path_factory.mktemp("whole path")
    data, runs = write_sets(folder / "a folder of sets"), folder / "runs"
    recipe = write_recipe(folder / "small.toml")
    options = ("--data", data, "--out", runs, "--recipe", recipe, "--threads", 1)
    with pytest.MonkeyPatch.context() as monkeypatch:

        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(fold_fits, "train_classification", interrupt)
        interrupted = call(train, "cross-validate", *options)
    before = sorted(str(path.parent.relative_to(runs)) for path in runs.rglob("run.json"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        after = count_fits(monkeypatch)
        output = run(train, "cross-validate", *options)
    return Judged(options, data, runs, interrupted, before, after, output)


@pytest.fixture(scope="module")
def figures(judged: Judged) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        (judged.runs / "report" / "cross_validation.json").read_text()
    )
    return document


@pytest.fixture(scope="module")
def repository(
    judged: Judged, model_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A copy of the model repository, with what was fitted here in place of what is shipped."""
    copy = tmp_path_factory.mktemp("served") / "model repository"
    shutil.copytree(model_repository, copy, ignore=shutil.ignore_patterns("*.plan"))
    (copy / "manifest.json").unlink()
    output = run(train, "final", *judged.options)
    served = judged.runs / "served"
    assert output.splitlines() == [
        f"wrote {served / name}" for name in ("transunet", "resnet18", "morphology_forest")
    ]
    target = ("--model-repository", copy)
    for name, outputs in (
        ("transunet", ("nodule_probability", "ood_score")),
        ("resnet18", ("malignancy", "evidence", "decision")),
    ):
        shown = run(export, "onnx", "--run", served / name, *target)
        assert f"wrote {name}/1/model.onnx" in shown
        assert all(f"{each}: largest difference" in shown for each in outputs)
    shown = run(export, "forest", "--run", served / "morphology_forest", *target)
    assert "forest_malignancy: largest difference" in shown
    return copy


def test_an_interrupted_call_goes_on(judged: Judged) -> None:
    assert judged.interrupted.exit_code == 1
    assert "Aborted" in judged.interrupted.output
    assert judged.fits_before == [
        "fold_0/segmentation",
        "pretraining/classification_seed_0",
        "pretraining/segmentation",
    ]
    # What was there is not fitted again: four folds more of the one, all five of the other.
    assert judged.fits_after == {"fit_segmentation": FOLDS - 1, "fit_linear_layer": FOLDS}


def test_the_folder_holds_every_run(judged: Judged) -> None:
    for fold in range(FOLDS):
        folder = judged.runs / f"fold_{fold}"
        record = json.loads((folder / "segmentation" / "run.json").read_text())
        assert record["data"]["held_out_fold"] == fold
        assert 9 <= record["data"]["ddti"] <= 12  # of 13, less a fold
        assert (folder / "classification_seed_0" / "weights.pt").is_file()
    assert not list(judged.runs.rglob("state*")), "the state of a fit that is done"


def test_the_report_holds_figures_tables_and_plots(judged: Judged, figures: dict[str, Any]) -> None:
    report = judged.runs / "report"
    assert figures["protocol"]["images"] == len(DDTI_ROWS) == 13
    assert figures["protocol"]["graded"] == figures["classification"]["images"] == len(GRADED)
    # Of 12 cases two share a picture: they are one patient.
    assert figures["protocol"]["patients"] == 11
    assert figures["segmentation"][0]["images"] == 13
    assert 0 <= figures["segmentation"][0]["figures"]["dice_mean"]["estimate"] <= 1
    names = [row["name"] for row in figures["classification"]["classifiers"]]
    assert names[0] == "all malignant"
    assert names[-1] == figures["served"]["classifier"] == "ResNet-18, predicted regions"
    assert sum("Random Forest" in name for name in names) == 4
    assert figures["detection"][0]["frames"] == 2 * FOLDS
    gate = {row["name"]: row for row in figures["out_of_distribution"]["sets"]}
    assert gate["DDTI"]["pictures"] == gate["DDTI inverted"]["pictures"] == 13
    assert gate["BUSI"]["pictures"] == 7
    assert gate["natural-looking noise"]["pictures"] == FOLDS
    assert len(figures["served"]["gate_limits"]) == 2

    table = (report / "table.md").read_text()
    assert table in judged.output
    assert all(name in table for name in names)
    with (report / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["id"] for row in rows) == sorted(row["id"] for row in DDTI_ROWS)
    plots = sorted(path.name for path in report.glob("*.png"))
    assert {"dice.png", "worst_cases.png", "roc.png", "reliability.png"} <= set(plots)
    for name in plots:
        assert cv2.imread(str(report / name)) is not None, name


def test_the_report_names_no_folder_of_this_machine(judged: Judged) -> None:
    for path in judged.runs.joinpath("report").iterdir():
        assert str(judged.runs.parent).encode() not in path.read_bytes(), path


def test_a_second_call_fits_nothing_and_says_the_same(
    judged: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = (judged.runs / "report" / "cross_validation.json").read_bytes()
    counts = count_fits(monkeypatch)
    assert run(train, "cross-validate", *judged.options) == judged.output
    assert not counts
    assert (judged.runs / "report" / "cross_validation.json").read_bytes() == first


def test_what_is_served_carries_what_was_found_out_of_fold(
    judged: Judged, repository: Path, figures: dict[str, Any]
) -> None:
    served = figures["served"]
    graph = load_classification_graph(onnx_path(repository, contract.RESNET18))
    wanted = [served["calibration"]["scale"], served["calibration"]["offset"]]
    np.testing.assert_allclose(graph.calibration.numpy(), wanted, rtol=1e-6)
    point = [served["operating_point"][name] for name in ("routine_below", "refer_from")]
    np.testing.assert_allclose(graph.operating_point.numpy(), point, rtol=1e-6)
    # One set of thyroids, one of phantoms.
    gate = load_segmentation_graph(onnx_path(repository, contract.TRANSUNET)).gate
    assert gate.limit.shape == (2, 1)
    assert (gate.limit > 0).all()
    manifest = json.loads((repository / "manifest.json").read_text())
    for model in (contract.TRANSUNET, contract.RESNET18, contract.MORPHOLOGY_FOREST):
        path = onnx_path(repository, model)
        entry = manifest[str(path.relative_to(repository))]
        assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert entry["source"]["data"]["ddti"] == 13
    assert manifest["resnet18/1/model.onnx"]["source"]["out_of_fold"] == {
        name: served[name] for name in ("calibration", "operating_point", "gate_limits")
    }


def test_the_offline_pipeline_screens_with_what_was_exported(
    judged: Judged, repository: Path
) -> None:
    offline = OfflinePipeline.from_repository(repository)
    for row in DDTI_ROWS[::4]:
        answer = offline.screen((judged.data / "ddti" / "images" / f"{row['id']}.jpg").read_bytes())
        assert answer.ood_score >= 0
        is_answered = answer.crop.nodule_found and answer.ood_score <= contract.OOD_LIMIT
        assert np.isnan(answer.malignancy) != is_answered
        assert is_answered == (
            answer.decision
            in (contract.Decision.ROUTINE, contract.Decision.UNCERTAIN, contract.Decision.REFER)
        )


def test_the_exported_forest_is_the_run_s(judged: Judged, repository: Path) -> None:
    folder = judged.runs / "served" / "morphology_forest"
    forest, _ = load_forest_run(folder)
    with np.load(folder / "table.npz") as arrays:
        morphology, labels = arrays["morphology"], arrays["labels"]
    assert len(labels) >= len(GRADED)  # every outline, and the predictions that met it
    path = onnx_path(repository, contract.MORPHOLOGY_FOREST)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (answer,) = session.run(
        None,
        {
            "morphology": morphology,
            "nodule_found": np.ones((len(labels), 1), np.bool_),
            "ood_score": np.zeros((len(labels), 1), np.float32),
        },
    )
    np.testing.assert_allclose(answer[:, 0], forest_malignancy(forest, morphology), atol=1e-5)
    assert answer[labels == 1].mean() > answer[labels == 0].mean()


def test_a_run_that_held_out_another_fold_is_not_taken(judged: Judged) -> None:
    record = judged.runs / "fold_1" / "segmentation" / "run.json"
    before = record.read_text()
    document = json.loads(before)
    document["data"]["held_out_fold"] = 2
    record.write_text(json.dumps(document))
    result = call(train, "segmentation", *judged.options, "--fold", 1)
    record.write_text(before)
    assert result.exit_code == 1
    assert "it differs in data; give another folder" in result.output
    run(train, "segmentation", *judged.options, "--fold", 1)
