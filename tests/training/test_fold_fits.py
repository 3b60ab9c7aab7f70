"""Which samples a fold's networks see, and that nothing is fitted twice or by another recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from small_recipes import make_small, write_recipe
from small_sets import write_sets
from thyroid_training import fit, stages
from thyroid_training.dataset import Sample
from thyroid_training.fold_fits import FoldFits, Sets, read_sets
from thyroid_training.protocol import FOLDS
from thyroid_training.recipe import Recipe, read_recipe
from thyroid_training.runs import RunError
from thyroid_training.stages import StartingWeights

NOTHING: Any = None


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_small(monkeypatch)
        yield


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    return read_sets(write_sets(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return read_recipe(write_recipe(tmp_path_factory.mktemp("recipe") / "small.toml"))


def fits_of(samples: Sequence[Sample]) -> FoldFits:
    return FoldFits(NOTHING, Sets(samples, []), Path("nowhere"), StartingWeights())


def sample(number: int, group: str, label: int | None) -> Sample:
    """What a split looks at: a group and a grade."""
    return Sample(f"{number}", group, NOTHING, NOTHING, NOTHING, NOTHING, label)


# --- who is held out

LABELS = st.sampled_from([0, 1, None])
# Of each patient the grades of all images.
PATIENTS = st.lists(st.lists(LABELS, min_size=1, max_size=4), min_size=FOLDS, max_size=40)


def of_patients(patients: list[list[int | None]]) -> list[Sample]:
    rows = [(number, label) for number, labels in enumerate(patients) for label in labels]
    return [sample(n, f"patient {patient}", label) for n, (patient, label) in enumerate(rows)]


@given(PATIENTS)
def test_folds_hold_every_image_once_and_part_no_patient(patients: list[list[int | None]]) -> None:
    samples = of_patients(patients)
    assume(max(Counter(s.label for s in samples).values()) >= FOLDS)
    fits = fits_of(samples)
    held = [fits.held_out(fold) for fold in range(FOLDS)]
    assert sorted(s.name for fold in held for s in fold) == sorted(s.name for s in samples)
    for fold in range(FOLDS):
        seen = fits.fitted_on(fold)
        assert not {s.group for s in seen} & {s.group for s in held[fold]}
        assert {s.name for s in seen} | {s.name for s in held[fold]} == {s.name for s in samples}
        assert len(seen) + len(held[fold]) == len(samples)
    assert fits.fitted_on(None) == samples


@given(st.lists(LABELS, min_size=4 * FOLDS, max_size=80))
def test_folds_of_single_images_hold_the_grades_evenly(labels: list[int | None]) -> None:
    fits = fits_of(of_patients([[label] for label in labels]))
    for label in (0, 1, None):
        counts = [sum(s.label == label for s in fits.held_out(fold)) for fold in range(FOLDS)]
        assert max(counts) - min(counts) <= 1, (label, counts)


def test_a_shared_picture_joins_patients(sets: Sets) -> None:
    fits = FoldFits(NOTHING, sets, Path("nowhere"), StartingWeights())
    fold_of = {s.name: fold for fold in range(FOLDS) for s in fits.held_out(fold)}
    assert fold_of["5_1"] == fold_of["5_2"]
    assert fold_of["10_1"] == fold_of["11_1"]
    for fold in range(FOLDS):
        assert {s.label for s in fits.held_out(fold)} >= {0, 1}


def test_both_sets_are_read_from_one_folder(sets: Sets, tmp_path: Path) -> None:
    assert (len(sets.ddti), len(sets.busi)) == (13, 7)
    with pytest.raises(FileNotFoundError, match=r"ddti.manifest.csv does not exist"):
        read_sets(tmp_path)
    write_sets(tmp_path / "data")
    (tmp_path / "data" / "busi" / "manifest.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"busi.manifest.csv does not exist"):
        read_sets(tmp_path / "data")


def test_too_few_patients_for_the_folds_are_refused(sets: Sets) -> None:
    with pytest.raises(ValueError, match=r"cannot be split into 5 folds; at least 5 groups, and"):
        fits_of(sets.ddti[:4])


# --- what is fitted


def assert_equal_weights(one: torch.nn.Module, other: torch.nn.Module) -> None:
    """The same to the last bit, and so laid out that sums over them are as well."""
    for name, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
        assert other.state_dict()[name].stride() == value.stride(), name


class InterruptionError(Exception):
    pass


def test_a_fit_goes_on_where_it_was_interrupted(
    sets: Sets, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ends with the weights of one that was not, to the last bit."""
    long = replace(recipe.segmentation, fit=replace(recipe.segmentation.fit, epochs=2))
    recipe = replace(recipe, segmentation=long)

    def fits(out: Path) -> FoldFits:
        return FoldFits(recipe, sets, out, StartingWeights())

    whole = fits(tmp_path / "whole").segmentation(0)
    save = fit._State.save

    def save_and_stop(self: Any, path: Path, epoch: int) -> None:
        save(self, path, epoch)
        if "fold_0" in path.parts:
            raise InterruptionError

    with monkeypatch.context() as interruption:
        interruption.setattr(fit._State, "save", save_and_stop)
        with pytest.raises(InterruptionError):
            fits(tmp_path / "parts").segmentation(0)
    folder = tmp_path / "parts" / "fold_0" / "segmentation"
    assert sorted(path.name for path in folder.iterdir()) == ["begun.json", "state.pt"]
    with monkeypatch.context() as counting:
        begun: list[int] = []

        def note_and_save(self: Any, path: Path, epoch: int) -> None:
            begun.append(epoch)
            save(self, path, epoch)

        counting.setattr(fit._State, "save", note_and_save)
        assert_equal_weights(whole, fits(tmp_path / "parts").segmentation(0))
    assert begun == [2], "the first epoch of the fold, or the pretraining, was fitted anew"
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "weights.pt"]


def test_what_was_fitted_is_read_and_no_other_recipe_s(
    sets: Sets, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = FoldFits(recipe, sets, tmp_path, StartingWeights())
    segmentation = first.segmentation(1)
    classification = first.classification(1, segmentation, seed=3)
    assert (tmp_path / "fold_1" / "classification_seed_3" / "run.json").is_file()
    assert not segmentation.training
    assert not classification.training

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("fitted anew")

    for name in ("fit_segmentation", "fit_classification", "fit_linear_layer"):
        monkeypatch.setattr(stages, name, refuse)
    again = FoldFits(recipe, sets, tmp_path, StartingWeights())
    assert_equal_weights(segmentation, again.segmentation(1))
    assert_equal_weights(classification, again.classification(1, segmentation, seed=3))
    # A recipe that differs in one number, and a set that lost an image.
    faster = replace(recipe.segmentation, fit=replace(recipe.segmentation.fit, learning_rate=0.5))
    other = FoldFits(replace(recipe, segmentation=faster), sets, tmp_path, StartingWeights())
    with pytest.raises(RunError, match=r"segmentation.run.json is of another run: .* in fit;"):
        other.segmentation(1)
    smaller = FoldFits(recipe, Sets(sets.ddti[:-1], sets.busi), tmp_path, StartingWeights())
    with pytest.raises(RunError, match=r"it differs in data; give another folder, or remove"):
        smaller.segmentation(1)
    assert {path.name for path in tmp_path.iterdir()} == {"pretraining", "fold_1"}
