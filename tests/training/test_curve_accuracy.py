"""`thyroid-train curve`: variants fitted by the recipe, judged on whom they never saw."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from small_recipes import SMALL_RECIPE, make_small, write_recipe
from small_sets import write_sets
from thyroid_pipeline import contract
from thyroid_pipeline.crop import crop_nodule
from thyroid_pipeline.mask_png import decode_mask
from thyroid_training import curve_accuracy
from thyroid_training.cli import main
from thyroid_training.curve_accuracy import judge_variant, write_accuracies
from thyroid_training.curve_variants import finished_folds, fit_variant, is_shipped, variants
from thyroid_training.fit_segmentation import predict
from thyroid_training.fold_fits import FoldFits, read_sets
from thyroid_training.mask_agreement import dice
from thyroid_training.published_weights import published_name, start_transunet
from thyroid_training.recipe import read_recipe
from thyroid_training.runs import Run
from thyroid_training.stages import StartingWeights
from thyroid_training.transunet_config import COMPACT, SIZES

# As the shipped recipe: without a pretraining.
_BEGIN, _END = SMALL_RECIPE.index("# Averaged"), SMALL_RECIPE.index("[segmentation]")
PLAIN_RECIPE = SMALL_RECIPE[:_BEGIN] + SMALL_RECIPE[_END:]


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_small(monkeypatch)
        monkeypatch.setattr(curve_accuracy, "REGION_SIDES_PX", (contract.ROI_SIDE_PX,))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sets(tmp_path_factory.mktemp("curve") / "data")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe") / "plain.toml", PLAIN_RECIPE)


@pytest.fixture(scope="module")
def stages(model_repository: Path) -> Iterator[Path]:
    """The shipped ResNet-18's file, read into the full network."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("thyroid_training.resnet18._STAGE_WIDTHS", (64, 128, 256, 512))
        yield model_repository / "resnet18" / "1" / "model.onnx"


@pytest.fixture(scope="module")
def fits(data: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> FoldFits:
    out = tmp_path_factory.mktemp("nothing is fitted here")
    return FoldFits(read_recipe(recipe), read_sets(data), out, StartingWeights())


@pytest.fixture(scope="module")
def written(
    data: Path, recipe: Path, stages: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The runs' folder after the command was given twice, the second time to judge alone."""
    out = tmp_path_factory.mktemp("curve") / "runs"
    report = out.parent / "cross_validation.json"
    report.write_text(json.dumps(report_of(read_recipe(recipe), 13)))
    files = ("--recipe", recipe, "--stages", stages, "--report", report)
    wanted = ("--variant", "side_128", "--variant", "layers_0", "--fold", 0)
    for extra in (wanted, ()):
        arguments = [str(part) for part in ("curve", "--data", data, "--out", out, *files, *extra)]
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert (result.exit_code, result.output) == (0, f"wrote {out / 'accuracy_curve.json'}\n")
    return out


def report_of(recipe: Any, images: int) -> dict[str, Any]:
    """As much of `cross_validation.json` as is looked at."""
    kept = {"segmentation": asdict(recipe.segmentation), "size": recipe.size}
    return {
        "protocol": {
            "images": images,
            "recipe": kept,
            "transunet": asdict(SIZES[recipe.size]),
        },
        "segmentation": [{"dice_mean_by_seed_and_fold": [[0.7, 0.8, 0.6, 0.5, 0.9]]}],
    }


def test_one_variant_is_the_shipped_network() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(SIZES, "compact", COMPACT)
        assert [name for name, config in variants().items() if is_shipped(config)] == ["side_160"]
        assert all(published_name(config, None) for config in variants().values())


def test_variants_are_judged_on_whom_they_never_saw(written: Path, fits: FoldFits) -> None:
    document = json.loads((written / "accuracy_curve.json").read_text())
    rows = {row["name"]: row for row in document["segmentation"]}
    assert list(rows) == ["side_128", "layers_0", "side_160"]
    held_out = fits.held_out(0)
    for name in ("side_128", "layers_0"):
        record = Run(written / name / "fold_0").read_record()
        assert record["data"]["held_out_fold"] == 0  # type: ignore[index]
        assert record["fit"] == asdict(fits.recipe.segmentation.fit)
        network = fit_variant(fits, name, 0, written)
        assert network.config == variants()[name]
        # As the cropper answers, through its own PNG.
        maps, _ = predict(network, [sample.frame for sample in held_out])
        parameters = contract.CropperParameters()
        dices = [
            dice(
                decode_mask(crop_nodule(s.frame, map_, s.geometry, parameters).mask),
                s.truth,
            )
            for s, map_ in zip(held_out, maps, strict=True)
        ]
        assert rows[name]["dice_mean_by_fold"] == {"0": pytest.approx(np.mean(dices), abs=1e-6)}
        assert rows[name]["dice_mean"]["estimate"] == pytest.approx(np.mean(dices), abs=1e-6)
        assert rows[name]["images"] == len(held_out)
    assert rows["side_128"]["side_px"] == 128
    assert rows["layers_0"]["transformer_layers"] == 0
    assert not rows["layers_0"]["shipped"]


def test_the_shipped_network_comes_from_the_report(written: Path) -> None:
    document = json.loads((written / "accuracy_curve.json").read_text())
    row = next(row for row in document["segmentation"] if row["shipped"])
    assert row["source"] == "cross_validation.json"
    assert row["dice_mean_by_fold"] == {"0": 0.7}
    assert row["dice_mean"] == {"estimate": 0.7, "low": None, "high": None}


def test_regions_are_judged_by_the_shipped_stages(written: Path) -> None:
    document = json.loads((written / "accuracy_curve.json").read_text())
    assert [row["side_px"] for row in document["classification"]] == [contract.ROI_SIDE_PX]
    assert document["classification"][0]["images"] == 12
    assert document["protocol"]["classification"] == {"inverse_regularisation": 0.1}


def test_what_is_fitted_is_not_fitted_again(written: Path, fits: FoldFits) -> None:
    assert finished_folds(written, "side_128") == [0]
    weights = written / "side_128" / "fold_0" / "weights.pt"
    before = weights.stat().st_mtime_ns
    assert len(judge_variant(fits, fit_variant(fits, "side_128", 0, written), 0)) == len(
        fits.held_out(0)
    )
    assert weights.stat().st_mtime_ns == before


def test_where_nothing_is_found_the_dice_is_0(fits: FoldFits) -> None:
    network = start_transunet(variants()["side_128"], None).eval()
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.constant_(network.get_parameter("head.bias"), -100.0)
    results = judge_variant(fits, network, 1)
    assert [result.dice for result in results] == [0.0] * len(fits.held_out(1))
    assert not any(result.found for result in results)


# --- what is refused


def test_a_variant_of_no_name_is_refused(fits: FoldFits, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'side_100' is no variant; one of side_128, .* wanted"):
        fit_variant(fits, "side_100", 0, tmp_path)


def test_a_recipe_with_a_pretraining_is_refused(data: Path, tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path / "pretrained.toml"))
    fits = FoldFits(recipe, read_sets(data), tmp_path, StartingWeights())
    with pytest.raises(ValueError, match=r"`size` 'compact' and a pretraining; 'compact' and none"):
        fit_variant(fits, "side_128", 0, tmp_path)


def test_a_folder_without_fits_is_refused(fits: FoldFits, tmp_path: Path, stages: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no finished fit of a variant; .* --variant and"):
        write_accuracies(fits, tmp_path, stages, tmp_path / "report.json")


def test_a_report_of_other_images_is_refused(
    fits: FoldFits, written: Path, tmp_path: Path, stages: Path
) -> None:
    report = tmp_path / "cross_validation.json"
    with pytest.raises(FileNotFoundError, match=r"the report of `thyroid-train cross-validate`"):
        write_accuracies(fits, written, stages, report)
    report.write_text(json.dumps(report_of(fits.recipe, 12)))
    with pytest.raises(ValueError, match=r"is of 12 images and of \{.*; 13 and"):
        write_accuracies(fits, written, stages, report)
