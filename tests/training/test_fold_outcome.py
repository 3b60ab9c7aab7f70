"""One fold's numbers: of images never seen, as the server would give them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from miniatures import TINY_COMPACT
from small_recipes import make_small, write_recipe
from small_sets import write_sets
from thyroid_pipeline.mask_png import decode_mask
from thyroid_training.fit_segmentation import predict
from thyroid_training.fold_fits import FoldFits, read_sets
from thyroid_training.fold_outcome import (
    BREASTS,
    PHANTOMS,
    THYROIDS,
    VARIED_PHANTOMS,
    VARIED_THYROIDS,
    FoldOutcome,
    judge_fold,
    known_features,
)
from thyroid_training.foreign_frames import ALTERED, MADE
from thyroid_training.judge_gate import gate_scores
from thyroid_training.mask_agreement import dice
from thyroid_training.offline import OfflinePipeline
from thyroid_training.ood import fit_gate
from thyroid_training.protocol import FOLDS
from thyroid_training.recipe import read_recipe
from thyroid_training.resnet18 import ResNet18
from thyroid_training.serving import ClassificationGraph, SegmentationGraph
from thyroid_training.stages import StartingWeights
from thyroid_training.transunet import TransUNet

FOLD = 1
SEEDS = (0, 7)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_small(monkeypatch)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sets(tmp_path_factory.mktemp("fold") / "data")


class Unfitted(FoldFits):
    """Networks whose answers are known: all of a frame is nodule, or nothing is."""

    logit = 2.0

    def segmentation(self, fold: int | None) -> TransUNet:
        torch.manual_seed(0)
        network = TransUNet(TINY_COMPACT).eval()
        with torch.no_grad():
            network.head.weight.zero_()
            network.get_parameter("head.bias").fill_(self.logit)
        return network

    def classification(self, fold: int | None, segmentation: TransUNet, seed: int) -> ResNet18:
        torch.manual_seed(seed)
        return ResNet18().eval()


@pytest.fixture(scope="module")
def fits(small: None, data: Path) -> Unfitted:
    recipe = read_recipe(write_recipe(data / "small.toml"))
    recipe = replace(recipe, classification_seeds=SEEDS)
    return Unfitted(recipe, read_sets(data), data / "runs", StartingWeights())


@pytest.fixture(scope="module")
def outcome(fits: Unfitted) -> FoldOutcome:
    return judge_fold(fits, FOLD)


def names(fits: FoldFits) -> list[str]:
    return [sample.name for sample in fits.held_out(FOLD)]


def test_the_held_out_images_are_judged_and_no_other(fits: Unfitted, outcome: FoldOutcome) -> None:
    assert outcome.fold == FOLD
    assert [image.id for image in outcome.images] == names(fits)
    assert {image.fold for image in outcome.images} == {FOLD}
    assert [s.name for s in outcome.graded] == [
        s.name for s in fits.held_out(FOLD) if s.label is not None
    ]
    assert list(outcome.masks) == list(outcome.truths) == names(fits)
    assert outcome.logits.shape == (len(SEEDS), len(outcome.graded))
    # What the forests learn from is the rest: a row for each outline, and for each prediction.
    rest = [s.label for s in fits.fitted_on(FOLD) if s.label is not None]
    assert outcome.outlined_table.labels.tolist() == rest
    assert outcome.predicted_table.labels.tolist() == rest * 2


def test_numbers_are_those_of_the_served_path(
    fits: Unfitted, outcome: FoldOutcome, data: Path
) -> None:
    """From the encoded image on, by the graphs that are exported."""
    segmentation = SegmentationGraph(fits.segmentation(FOLD))
    pipelines = [
        OfflinePipeline(
            segmentation, ClassificationGraph(fits.classification(FOLD, segmentation.network, seed))
        )
        for seed in SEEDS
    ]
    assert len(outcome.graded) >= 2
    for row, sample in enumerate(outcome.graded):
        image = (data / "ddti" / "images" / f"{sample.name}.jpg").read_bytes()
        answers = [pipeline.screen(image) for pipeline in pipelines]
        wanted = answers[0]
        np.testing.assert_array_equal(outcome.crops[row].box, wanted.crop.box)
        np.testing.assert_array_equal(outcome.masks[sample.name], decode_mask(wanted.crop.mask))
        np.testing.assert_allclose(outcome.evidence[row], wanted.evidence, atol=1e-5)
        by_logit = 1 / (1 + np.exp(-outcome.logits[:, row]))
        np.testing.assert_allclose(by_logit, [a.malignancy for a in answers], atol=1e-6)
        image_result = next(image for image in outcome.images if image.id == sample.name)
        assert image_result.dice == dice(decode_mask(wanted.crop.mask), sample.truth)
    assert (outcome.logits[0] != outcome.logits[1]).all(), "each seed is another network"


def test_outlines_are_cut_as_the_regions_were(outcome: FoldOutcome) -> None:
    """In the region the outlined nodule is as dark or as bright as it was drawn."""
    for sample, crop, nodule in zip(outcome.graded, outcome.crops, outcome.nodules, strict=True):
        assert nodule.any()
        around = crop.roi[~nodule & (crop.roi > 0)].mean()
        is_darker = crop.roi[nodule].mean() < around
        assert is_darker == (sample.label == 1), sample.name


def test_kinds_of_frames_and_their_numbers(fits: Unfitted, outcome: FoldOutcome) -> None:
    kinds = outcome.distances
    varied = {THYROIDS: VARIED_THYROIDS, PHANTOMS: VARIED_PHANTOMS}
    assert set(kinds) == {*varied, *varied.values(), BREASTS, *ALTERED, *MADE}
    assert list(kinds[THYROIDS].names) == names(fits)
    for kind, other in varied.items():
        assert kinds[kind].names == kinds[other].names
        assert (kinds[kind].thyroids != kinds[other].thyroids).all(), "varied into the same"
    for kind, distances in kinds.items():
        assert len(distances.thyroids) == len(distances.phantoms) == len(distances.names), kind
        assert np.isfinite(distances.thyroids).all()
        assert (distances.phantoms >= 0).all()
    for kind in ALTERED:
        assert len(kinds[kind].names) == len(names(fits))
    assert [len(kinds[kind].names) for kind in MADE] == [1, 1]
    # A fold judges every fifth breast, so that each is judged once.
    assert kinds[BREASTS].names == tuple(s.name for s in fits.sets.busi[FOLD::FOLDS])
    kept = [distances for kind, distances in kinds.items() if kind not in varied.values()]
    all_names = [name for distances in kept for name in distances.names]
    assert len(set(all_names)) == len(all_names)
    assert [name for name, *_ in outcome.phantoms] == list(kinds[PHANTOMS].names)
    assert {found for *_, found in outcome.phantoms} == {True}


def test_distances_are_the_served_gate_s(fits: Unfitted, outcome: FoldOutcome) -> None:
    network = fits.segmentation(FOLD)
    others = fits.fitted_on(FOLD)
    _, seen = predict(network, [sample.frame for sample in others])
    known = known_features(network, others, seen, fits.recipe)
    for limits in ((3.0, 2.0), (1e6, 2.0), (3.0, 1e6)):
        graph = SegmentationGraph(
            network, fit_gate([known.thyroids, known.phantoms], limits)
        ).eval()
        frames = np.array([sample.frame for sample in fits.held_out(FOLD)])
        with torch.no_grad():
            _, scores = graph(torch.from_numpy(frames)[:, None])
        wanted = gate_scores(outcome.distances[THYROIDS], *limits)
        np.testing.assert_allclose(scores[:, 0].numpy(), wanted, rtol=1e-3)


def test_nothing_found_is_no_number(fits: Unfitted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unfitted, "logit", -2.0)
    outcome = judge_fold(fits, FOLD)
    assert np.isnan(outcome.logits).all()
    assert not any(mask.any() for mask in outcome.masks.values())
    assert {(image.dice, image.found) for image in outcome.images} == {(0.0, False)}
    assert not outcome.nodules.any()
    assert all(np.isnan(crop.morphology).all() for crop in outcome.crops)
    assert {found for *_, found in outcome.phantoms} == {False}
    # Of what was outlined there are figures all the same, and nothing but that to learn from.
    assert not np.isnan(outcome.outlined).all(axis=1).any()
    assert len(outcome.predicted_table.labels) == len(outcome.outlined_table.labels)
