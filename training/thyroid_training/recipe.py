"""The recipe: one small TOML file that says how everything is fitted."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from thyroid_training.augment import AugmentConfig
from thyroid_training.fit import FitConfig
from thyroid_training.forest import ForestConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_STRICT = ConfigDict(extra="forbid")


@with_config(_STRICT)
@dataclass(frozen=True)
class SegmentationStage:
    """One fit of TransUNet.

    Attributes:
        fit: How.
        phantoms: Number of phantoms among its samples.
    """

    fit: FitConfig
    phantoms: int


@with_config(_STRICT)
@dataclass(frozen=True)
class ClassificationPretraining:
    """The fit of ResNet-18's stages.

    Attributes:
        fit: How; `classification_seeds` stand in its seed's place.
    """

    fit: FitConfig


@with_config(_STRICT)
@dataclass(frozen=True)
class LinearLayer:
    """The fit of ResNet-18's linear layer.

    Attributes:
        inverse_regularisation: scikit-learn's C, for features of unit variance.
    """

    inverse_regularisation: float


@with_config(_STRICT)
@dataclass(frozen=True)
class Recipe:
    """How all that is served is fitted.

    Attributes:
        pretraining: TransUNet on breast ultrasound and phantoms, before it sees a thyroid; None
            goes from ImageNet to thyroids at once.
        segmentation: TransUNet on thyroids, from there.
        classification_pretraining: ResNet-18's stages, on breast lesions and by a teacher.
        classification: ResNet-18's linear layer, on thyroid nodules.
        size: Of TransUNet, a key of `transunet_config.SIZES`.
        classification_seeds: Seeds of the ResNet-18 that are cross-validated; the first is served.
        augment: How samples are varied, in all four.
        forest: The Random Forest that is served.
    """

    segmentation: SegmentationStage
    classification_pretraining: ClassificationPretraining
    classification: LinearLayer
    pretraining: SegmentationStage | None = None
    size: Literal["compact", "paper"] = "compact"
    classification_seeds: tuple[int, ...] = (0,)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    forest: ForestConfig = field(default_factory=ForestConfig)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Args:
        path: A TOML file; `training/recipes/compact.toml` is the one of the shipped networks.

    Returns:
        The recipe.

    Raises:
        ValueError: The file is no TOML, a field is missing, unknown or of another type, or a value
            cannot be; the message names each.
    """
    try:
        return TypeAdapter(Recipe).validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is no TOML file ({error}): mend that line") from error
    except ValidationError as error:
        faults = "; ".join(
            f"`{'.'.join(map(str, fault['loc']))}` {fault['msg']} (came: {fault['input']!r})"
            for fault in error.errors()
        )
        raise ValueError(
            f"{path} is no recipe: {faults}. See training/recipes/compact.toml for all fields"
        ) from error
