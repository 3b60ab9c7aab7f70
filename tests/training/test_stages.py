"""The fits of TransUNet: none is done twice, none goes on from another recipe's."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

from miniatures import TINY_COMPACT, TINY_PAPER
from stage_fits import NOTHING, PRETRAINING, RECIPE, Fits, changed, same
from thyroid_training import stages as module
from thyroid_training.dataset import Sample
from thyroid_training.recipe import (
    Recipe,
)
from thyroid_training.runs import RunError
from thyroid_training.stages import (
    StartingWeights,
    pretrain_segmentation,
    train_segmentation,
)
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import SIZES


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    for size, config in (("compact", TINY_COMPACT), ("paper", TINY_PAPER)):
        monkeypatch.setitem(SIZES, size, dataclasses.replace(config, image_size=64))


@pytest.fixture
def segmentations(monkeypatch: pytest.MonkeyPatch) -> Fits:
    fits = Fits()
    monkeypatch.setattr(module, "fit_segmentation", fits)
    return fits


def test_pretraining_takes_breasts_and_phantoms(
    lesions: list[Sample], tmp_path: Path, segmentations: Fits
) -> None:
    network = pretrain_segmentation(RECIPE, lesions, tmp_path / "run", NOTHING)
    ((samples, config, augment, _, state_file),) = segmentations.calls
    assert [sample.name for sample in samples[:2]] == [sample.name for sample in lesions]
    assert len(samples) == 2 + PRETRAINING.phantoms
    assert all(sample.name.startswith("phantom_") for sample in samples[2:])
    assert (config, augment) == (PRETRAINING.fit, RECIPE.augment)
    assert state_file.parent == tmp_path / "run"
    assert network.config == SIZES["compact"]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["data"] == {"busi": 2, "phantoms": 2}
    assert record["fit"]["seed"] == 6


def test_a_finished_pretraining_is_read_not_fitted(
    lesions: list[Sample], tmp_path: Path, segmentations: Fits
) -> None:
    fitted = pretrain_segmentation(RECIPE, lesions, tmp_path, NOTHING)
    torch.manual_seed(99)
    read = pretrain_segmentation(RECIPE, lesions, tmp_path, NOTHING)
    assert len(segmentations.calls) == 1
    assert read is not fitted
    assert not read.training
    assert same(read, fitted)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda recipe: changed(recipe, "pretraining", epochs=2), "fit"),
        (lambda recipe: dataclasses.replace(recipe, size="paper"), "network, shape"),
        (
            lambda recipe: dataclasses.replace(
                recipe, augment=dataclasses.replace(recipe.augment, scale=1.1)
            ),
            "augment",
        ),
        (
            lambda recipe: dataclasses.replace(
                recipe, pretraining=dataclasses.replace(recipe.pretraining, phantoms=3)
            ),
            "data",
        ),
    ],
    ids=["epochs", "size", "augment", "phantoms"],
)
def test_a_run_of_another_recipe_is_refused(
    lesions: list[Sample],
    tmp_path: Path,
    segmentations: Fits,
    change: Callable[[Recipe], Recipe],
    field: str,
) -> None:
    pretrain_segmentation(RECIPE, lesions, tmp_path, NOTHING)
    with pytest.raises(
        RunError, match=f"run.json is of another run: it differs in {field}; give another folder"
    ):
        pretrain_segmentation(change(RECIPE), lesions, tmp_path, NOTHING)
    assert len(segmentations.calls) == 1


@pytest.mark.parametrize("size", ["paper", "compact"])
def test_both_sizes_begin_by_the_seed_where_no_weights_fit(
    lesions: list[Sample], tmp_path: Path, segmentations: Fits, size: Literal["paper", "compact"]
) -> None:
    """Without a file the paper size begins with nothing; the tiny compact one has none to fit."""
    recipe = dataclasses.replace(RECIPE, size=size)
    torch.manual_seed(98)
    network = pretrain_segmentation(recipe, lesions, tmp_path, NOTHING)
    assert network.config == SIZES[size]
    torch.manual_seed(recipe.segmentation.fit.seed)
    assert same(TransUNet(SIZES[size]), segmentations.begun[0])
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["initial"] is None
    assert record["shape"]["stage_widths"] == list(SIZES[size].stage_widths)


def test_published_weights_are_begun_with_and_named(
    lesions: list[Sample],
    tmp_path: Path,
    segmentations: Fits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Path | None] = []

    def start(config: Any, path: Path | None) -> TransUNet:
        asked.append(path)
        return TransUNet(config)

    monkeypatch.setattr(module, "start_transunet", start)
    path = tmp_path / "somewhere" / "published.npz"
    recipe = dataclasses.replace(RECIPE, size="paper")
    pretrain_segmentation(recipe, lesions, tmp_path, StartingWeights(transunet=path))
    assert asked == [path]
    text = (tmp_path / "run.json").read_text()
    assert json.loads(text)["initial"] == "published.npz"
    assert str(tmp_path) not in text  # no place of this machine
    with pytest.raises(RunError, match="differs in initial"):
        pretrain_segmentation(recipe, lesions, tmp_path, NOTHING)


def test_without_pretraining_the_network_is_as_published(
    lesions: list[Sample], tmp_path: Path, segmentations: Fits
) -> None:
    recipe = dataclasses.replace(RECIPE, pretraining=None)
    torch.manual_seed(97)
    network = pretrain_segmentation(recipe, lesions, tmp_path, NOTHING)
    assert segmentations.calls == []
    assert list(tmp_path.iterdir()) == []
    assert not network.training
    torch.manual_seed(5)
    assert same(TransUNet(SIZES["compact"]), network)
    train_segmentation(recipe, lesions, network, tmp_path / "run", {}, weights=NOTHING)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["initial"] == {
        "published": None,
        "pretraining": None,
    }
    with pytest.raises(RunError, match="differs in initial"):
        train_segmentation(RECIPE, lesions, network, tmp_path / "run", {}, weights=NOTHING)
    others = StartingWeights(transunet=tmp_path / "others.pth")
    with pytest.raises(RunError, match="differs in initial"):
        train_segmentation(recipe, lesions, network, tmp_path / "run", {}, weights=others)


def test_training_goes_on_from_the_pretrained_and_leaves_it(
    ddti_samples: list[Sample], tmp_path: Path, segmentations: Fits
) -> None:
    torch.manual_seed(1)
    pretrained = TransUNet(SIZES["compact"])
    before = {name: value.clone() for name, value in pretrained.state_dict().items()}
    samples, data = ddti_samples[:3], {"ddti": 3, "held_out_fold": None}
    fitted = train_segmentation(RECIPE, samples, pretrained, tmp_path, data, weights=NOTHING)
    ((given, config, *_),) = segmentations.calls
    assert [sample.name for sample in given[:3]] == [sample.name for sample in samples]
    assert len(given) == 3 + RECIPE.segmentation.phantoms
    assert config == RECIPE.segmentation.fit
    assert same(pretrained, segmentations.begun[0])
    assert same(pretrained, before)
    assert not same(fitted, before)
    again = train_segmentation(RECIPE, samples, pretrained, tmp_path, data, weights=NOTHING)
    assert len(segmentations.calls) == 1
    assert same(again, fitted)
    elsewhere = {**data, "held_out_fold": 0}
    with pytest.raises(RunError, match="differs in data"):
        train_segmentation(RECIPE, samples, pretrained, tmp_path, elsewhere, weights=NOTHING)
    other = changed(RECIPE, "pretraining", epochs=7)
    with pytest.raises(RunError, match="differs in initial"):
        train_segmentation(other, samples, pretrained, tmp_path, data, weights=NOTHING)


def test_a_later_stage_sees_phantoms_of_an_earlier_one(
    lesions: list[Sample], tmp_path: Path, segmentations: Fits
) -> None:
    pretrained = pretrain_segmentation(RECIPE, lesions, tmp_path / "a", NOTHING)
    train_segmentation(RECIPE, lesions, pretrained, tmp_path / "b", {}, weights=NOTHING)
    first, second = ({s.name for s in call[0][2:]} for call in segmentations.calls)
    assert second < first


def test_an_interrupted_fit_goes_on_where_it_was(
    lesions: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real fit of two epochs, cut off behind the first one; then whole in another folder."""
    recipe = changed(RECIPE, "pretraining", epochs=2)

    def interrupt(epoch: int, network: nn.Module) -> str:
        if epoch == 1:
            raise InterruptedError
        return ""

    folder = tmp_path / "interrupted"
    with monkeypatch.context() as patch:
        patch.setattr(module, "_no_figure", interrupt)
        with pytest.raises(InterruptedError):
            pretrain_segmentation(recipe, lesions, folder, NOTHING)
    assert sorted(path.name for path in folder.iterdir()) == ["begun.json", "state.pt"]
    other = dataclasses.replace(recipe, augment=dataclasses.replace(recipe.augment, scale=1.1))
    with pytest.raises(RunError, match=r"begun\.json is of another run: it differs in augment"):
        pretrain_segmentation(other, lesions, folder, NOTHING)
    epochs: list[int] = []

    def count(epoch: int, network: nn.Module) -> str:
        epochs.append(epoch)
        return ""

    monkeypatch.setattr(module, "_no_figure", count)
    resumed = pretrain_segmentation(recipe, lesions, folder, NOTHING)
    assert epochs == [2]
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "weights.pt"]
    whole = pretrain_segmentation(recipe, lesions, tmp_path / "whole", NOTHING).state_dict()
    assert epochs == [2, 1, 2]
    for name, value in resumed.state_dict().items():
        assert torch.allclose(value, whole[name], rtol=1e-5, atol=1e-6), name


def test_no_figure_of_held_out_images_is_looked_at(
    lesions: list[Sample], tmp_path: Path, segmentations: Fits
) -> None:
    pretrain_segmentation(RECIPE, lesions, tmp_path, NOTHING)
    ((_, _, _, after_epoch, _),) = segmentations.calls
    assert after_epoch(1, nn.Linear(1, 1)) == ""
