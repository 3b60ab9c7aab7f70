"""Recipes: the shipped one reads, and what is no recipe is refused by name."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from thyroid_training.augment import AugmentConfig
from thyroid_training.fit import FitConfig
from thyroid_training.forest import ForestConfig
from thyroid_training.recipe import (
    ClassificationPretraining,
    LinearLayer,
    Recipe,
    SegmentationStage,
    read_recipe,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

WHOLE = """
size = "paper"
classification_seeds = [3, 4]
[pretraining]
phantoms = 7
fit = { epochs = 2, learning_rate = 0.5, seed = 9 }
[segmentation]
phantoms = 0
fit = { epochs = 3, batch_size = 4, weight_decay = 0 }
[classification_pretraining]
fit = { epochs = 4 }
[classification]
inverse_regularisation = 0.5
[augment]
scale = 1.5
[forest]
trees = 11
"""


def recipe_of(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text)
    return read_recipe(path)


def test_the_shipped_recipe_says_what_its_file_says(checkout: Path) -> None:
    path = checkout / "training" / "recipes" / "compact.toml"
    recipe, said = read_recipe(path), tomllib.loads(path.read_text())
    assert recipe.size == said["size"] == "compact"
    assert list(recipe.classification_seeds) == said["classification_seeds"]
    for name in ("segmentation", "classification_pretraining"):
        stage = getattr(recipe, name)
        assert stage.fit == FitConfig(**said[name]["fit"]), name
        assert stage.fit.epochs > 0
    assert recipe.classification == LinearLayer(**said["classification"])
    assert (recipe.pretraining is None) == ("pretraining" not in said)
    assert recipe.segmentation.phantoms == said["segmentation"]["phantoms"] > 0
    assert recipe.augment == AugmentConfig(**said["augment"])


def test_every_field_is_read(tmp_path: Path) -> None:
    assert recipe_of(tmp_path, WHOLE) == Recipe(
        pretraining=SegmentationStage(FitConfig(2, learning_rate=0.5, seed=9), phantoms=7),
        segmentation=SegmentationStage(FitConfig(3, batch_size=4, weight_decay=0.0), phantoms=0),
        classification_pretraining=ClassificationPretraining(FitConfig(4)),
        classification=LinearLayer(0.5),
        size="paper",
        classification_seeds=(3, 4),
        augment=AugmentConfig(scale=1.5),
        forest=ForestConfig(trees=11),
    )


def test_what_is_left_out_is_as_usual(tmp_path: Path) -> None:
    usual = (
        r"(?m)^size.*\n|^classification_seeds.*\n|^\[pretraining\]\n.*\n.*\n"
        r"|^\[augment\]\n.*\n|^\[forest\]\n.*\n"
    )
    short = re.sub(usual, "", WHOLE)
    assert short.count("[") == 3
    recipe = recipe_of(tmp_path, short)
    assert (recipe.size, recipe.classification_seeds) == ("compact", (0,))
    assert (recipe.augment, recipe.forest) == (AugmentConfig(), ForestConfig())
    assert recipe.pretraining is None  # from ImageNet to thyroids at once


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('size = "paper"', 'size = "huge"', ["`size`", "'compact' or 'paper'", "'huge'"]),
        ("scale = 1.5", "scaling = 1.5", ["`augment.scaling`", "1.5"]),
        ("phantoms = 7", "phantoms = 7\nfantoms = 8", ["`pretraining.fantoms`", "8"]),
        ("epochs = 4", "epochs = 4, rate = 1", ["`classification_pretraining.fit.rate`"]),
        ("trees = 11", "tree_count = 11", ["`forest.tree_count`"]),
        ("[augment]", "[augmentation]", ["`augmentation`"]),
        ("phantoms = 7", 'phantoms = "many"', ["`pretraining.phantoms`", "integer", "'many'"]),
        ("phantoms = 7", "phantoms = 7.5", ["`pretraining.phantoms`", "integer", "7.5"]),
        ("[3, 4]", "[3, 4.5]", ["`classification_seeds.1`", "4.5"]),
        ("epochs = 4", "seed = 4", ["`classification_pretraining.fit.epochs`", "required"]),
        ("inverse_regularisation = 0.5", "C = 1", ["`classification.C`", "unexpected"]),
        ("phantoms = 0", "", ["`segmentation.phantoms`", "required"]),
        ("[classification]", "[augment.x]", ["`classification`", "required"]),
    ],
)
def test_what_is_no_recipe_is_refused_by_name(
    tmp_path: Path, before: str, after: str, words: list[str]
) -> None:
    assert before in WHOLE
    with pytest.raises(ValueError, match=r"recipe.toml is no recipe: .* See .*compact") as told:
        recipe_of(tmp_path, WHOLE.replace(before, after, 1))
    for word in words:
        assert word.lower() in str(told.value).lower(), word


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    text = WHOLE.replace("epochs = 2", "epochs = []").replace("scale = 1.5", "scaling = 1.5")
    with pytest.raises(ValueError, match=r"`pretraining.fit.epochs`.*; .*`augment.scaling`"):
        recipe_of(tmp_path, text)


@pytest.mark.parametrize("text", ["size = ", "[pretraining", "size = 'a'\nsize = 'b'"])
def test_broken_toml_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"recipe.toml is no TOML file \(.+ \(at .+\)\): mend"):
        recipe_of(tmp_path, text)


def test_an_empty_file_lacks_every_section(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no recipe") as told:
        recipe_of(tmp_path, "")
    for name in ("segmentation", "classification_pretraining"):
        assert f"`{name}`" in str(told.value)
