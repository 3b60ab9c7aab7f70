"""Fitting the networks of each fold, and those that are served, by one recipe below one folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from thyroid_training.dataset import Sample, read_busi, read_ddti, split_folds
from thyroid_training.fit_classification import labelled_nodules
from thyroid_training.protocol import FOLDS
from thyroid_training.recipe import Recipe
from thyroid_training.resnet18 import ResNet18
from thyroid_training.stages import (
    StartingWeights,
    pretrain_classification,
    pretrain_segmentation,
    train_classification,
    train_segmentation,
)
from thyroid_training.transunet import TransUNet

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Sets:
    """The real images.

    Attributes:
        ddti: Thyroids, see `dataset.read_ddti`.
        busi: Breasts, see `dataset.read_busi`.
    """

    ddti: Sequence[Sample]
    busi: Sequence[Sample]


def read_sets(data: Path) -> Sets:
    """Read both sets.

    Args:
        data: Holds `ddti` and `busi`.

    Raises:
        FileNotFoundError: One of them is not there.
        ValueError: One of them is damaged.
    """
    return Sets(read_ddti(data / "ddti"), read_busi(data / "busi"))


class FoldFits:
    """Fits what is asked for, and reads what was fitted before.

    A fold is its number, or None for the networks that are served, which see all samples. Runs lie
    in `pretraining`, `fold_0` and so on, and `final`; processes that fit different folds may share
    the folder, once the pretraining is there.

    Args:
        recipe: How.
        sets: What on.
        out: Folder of all runs.
        weights: Published weights to begin with.
    """

    def __init__(self, recipe: Recipe, sets: Sets, out: Path, weights: StartingWeights) -> None:
        self.recipe, self.sets = recipe, sets
        self._out, self._weights = out, weights
        self._folds = split_folds(sets.ddti)

    def held_out(self, fold: int) -> list[Sample]:
        """The samples of a fold, which its networks never see."""
        return [self.sets.ddti[index] for index in self._folds[fold]]

    def fitted_on(self, fold: int | None) -> list[Sample]:
        """All other samples."""
        held_out = set() if fold is None else set(self._folds[fold])
        return [s for index, s in enumerate(self.sets.ddti) if index not in held_out]

    def segmentation(self, fold: int | None) -> TransUNet:
        """Fit or read TransUNet.

        Raises:
            RunError: The folder holds a run of another recipe.
        """
        samples = self.fitted_on(fold)
        return as_read(
            train_segmentation(
                self.recipe,
                samples,
                self._pretrained_segmentation,
                self._folder(fold) / "segmentation",
                {"ddti": len(samples), **_protocol(fold)},
                weights=self._weights,
            )
        )

    def classification(self, fold: int | None, segmentation: TransUNet, seed: int) -> ResNet18:
        """Fit or read ResNet-18 on regions that `segmentation` cuts; errors as there.

        The seed is its pretraining's, which all folds share: no thyroid has a part in that.
        """
        samples = self.fitted_on(fold)
        graded = sum(sample.label is not None for sample in samples)
        return as_read(
            train_classification(
                self.recipe,
                lambda: labelled_nodules(samples, segmentation),
                self._pretrained_classification(seed),
                self._folder(fold) / f"classification_seed_{seed}",
                {"ddti_graded": graded, **_protocol(fold)},
                weights=self._weights,
                seed=seed,
            )
        )

    @cached_property
    def _pretrained_segmentation(self) -> TransUNet:
        folder = self._out / "pretraining" / "segmentation"
        return pretrain_segmentation(self.recipe, self.sets.busi, folder, self._weights)

    def _pretrained_classification(self, seed: int) -> ResNet18:
        folder = self._out / "pretraining" / f"classification_seed_{seed}"
        return pretrain_classification(
            self.recipe, self.sets.busi, folder, self._weights, seed=seed
        )

    def _folder(self, fold: int | None) -> Path:
        return self._out / ("final" if fold is None else f"fold_{fold}")


def as_read(network: Network) -> Network:
    """Lay weights out as those of a network that was read.

    A fit leaves them channels last, which sums in another order: the figures of a fold would differ
    in the last digit when its networks are read again.
    """
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network


def _protocol(fold: int | None) -> dict[str, object]:
    return {"held_out_fold": None} if fold is None else {"held_out_fold": fold, "folds": FOLDS}
