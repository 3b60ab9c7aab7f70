"""The four fits of a recipe, each kept in a run's folder and never done twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from thyroid_pipeline import contract
from thyroid_training.dataset import Sample, phantom_samples
from thyroid_training.fit_classification import (
    LabelledNodule,
    fit_classification,
    outlined_nodules,
)
from thyroid_training.fit_segmentation import fit_segmentation
from thyroid_training.linear_layer import fit_linear_layer
from thyroid_training.published_weights import (
    published_name,
    start_resnet18,
    start_transunet,
)
from thyroid_training.recipe import Recipe
from thyroid_training.resnet18 import ResNet18
from thyroid_training.runs import Run, RunError
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import SIZES

Network = TypeVar("Network", bound=nn.Module)

# Phantoms are seeded apart, so that those judged on were never trained on. A stage takes the first
# of these, so that a later one sees phantoms that an earlier one has seen.
_TRAINING_PHANTOM_SEED = 1_000
_TRAINING_NODULE_SHARE = 0.6


@dataclass(frozen=True)
class StartingWeights:
    """Published ImageNet weights to begin with, where the user has them.

    Attributes:
        transunet: R50+ViT-B/16 (.npz) for the paper size, EfficientNet-Lite2 (.pth) for the compact
            one; None takes the installed package's for the latter, and nothing for the former.
        resnet18: torchvision's (.pth); None begins with nothing.
    """

    transunet: Path | None = None
    resnet18: Path | None = None


def pretrain_segmentation(
    recipe: Recipe, busi: Sequence[Sample], folder: Path, weights: StartingWeights
) -> TransUNet:
    """Fit TransUNet on breast ultrasound and phantoms, if the recipe says so.

    Args:
        recipe: Its `pretraining`; where it has none, the network is as published.
        busi: See `dataset.read_busi`.
        folder: Of the run.
        weights: To begin with.

    Returns:
        The network, in evaluation mode.

    Raises:
        RunError: The folder holds a run of another recipe.
    """

    def begin() -> TransUNet:
        torch.manual_seed(recipe.segmentation.fit.seed)
        return start_transunet(SIZES[recipe.size], weights.transunet)

    stage = recipe.pretraining
    if stage is None:
        return begin().eval()
    record = {
        "network": f"transunet-{recipe.size}",
        "shape": SIZES[recipe.size],
        "data": {"busi": len(busi), "phantoms": stage.phantoms},
        "initial": published_name(SIZES[recipe.size], weights.transunet),
        "fit": stage.fit,
        "augment": recipe.augment,
    }

    def fit(network: TransUNet, state_file: Path) -> TransUNet:
        samples = [*busi, *_phantoms(stage.phantoms)]
        return fit_segmentation(
            network, samples, stage.fit, recipe.augment, _no_figure, state_file=state_file
        )

    return _once(folder, record, begin, fit)


def train_segmentation(
    recipe: Recipe,
    samples: Sequence[Sample],
    pretrained: TransUNet,
    folder: Path,
    data: Mapping[str, object],
    *,
    weights: StartingWeights,
) -> TransUNet:
    """Fit TransUNet on thyroids.

    Args:
        recipe: Its `segmentation`.
        samples: Thyroids to fit on.
        pretrained: What `pretrain_segmentation` gave; left as it is.
        folder: Of the run.
        data: What the samples are, for the run's record.
        weights: That the pretraining began with, for the run's record.

    Returns:
        The network, in evaluation mode.

    Raises:
        RunError: The folder holds a run of another recipe or of other data.
    """
    stage = recipe.segmentation
    record = {
        "network": f"transunet-{recipe.size}",
        "shape": pretrained.config,
        "data": {**data, "phantoms": stage.phantoms},
        "initial": {
            "published": published_name(pretrained.config, weights.transunet),
            "pretraining": recipe.pretraining,
        },
        "fit": stage.fit,
        "augment": recipe.augment,
    }

    def begin() -> TransUNet:
        network = TransUNet(pretrained.config)
        network.load_state_dict(pretrained.state_dict())
        return network

    def fit(network: TransUNet, state_file: Path) -> TransUNet:
        return fit_segmentation(
            network,
            [*samples, *_phantoms(stage.phantoms)],
            stage.fit,
            recipe.augment,
            _no_figure,
            state_file=state_file,
        )

    return _once(folder, record, begin, fit)


def pretrain_classification(
    recipe: Recipe, busi: Sequence[Sample], folder: Path, weights: StartingWeights, *, seed: int
) -> ResNet18:
    """Fit the stages of ResNet-18 on breast lesions and by its teacher.

    Args:
        recipe: Its `classification_pretraining`.
        busi: See `dataset.read_busi`.
        folder: Of the run.
        weights: To begin with.
        seed: In place of the recipe's.

    Returns:
        The network, in evaluation mode; its linear layer knows nothing.

    Raises:
        RunError: The folder holds a run of another recipe.
    """
    fit_config = replace(recipe.classification_pretraining.fit, seed=seed)
    nodules = outlined_nodules(busi)
    record = {
        "network": "resnet18",
        "roi_side_px": contract.ROI_SIDE_PX,
        "data": {"busi_lesions": len(nodules)},
        "initial": _resnet18_published(weights),
        "teacher": "EfficientNet-Lite0, ImageNet",
        "fit": fit_config,
        "augment": recipe.augment,
    }

    def begin() -> ResNet18:
        torch.manual_seed(seed)
        return start_resnet18(weights.resnet18)

    def fit(network: ResNet18, state_file: Path) -> ResNet18:
        return fit_classification(
            network, nodules, fit_config, recipe.augment, _no_figure, state_file=state_file
        )

    return _once(folder, record, begin, fit)


def train_classification(
    recipe: Recipe,
    nodules: Callable[[], Sequence[LabelledNodule]],
    pretrained: ResNet18,
    folder: Path,
    data: Mapping[str, object],
    *,
    weights: StartingWeights,
    seed: int,
) -> ResNet18:
    """Fit the linear layer of ResNet-18 on thyroid nodules.

    Args:
        recipe: Its `classification`.
        nodules: Boxes those to fit on; called only where there is something to fit.
        pretrained: What `pretrain_classification` gave; left as it is.
        folder: Of the run.
        data: What the nodules are, for the run's record.
        weights: That the pretraining began with, for the run's record.
        seed: Of the pretraining, likewise.

    Returns:
        The network, in evaluation mode.

    Raises:
        RunError: The folder holds a run of another recipe or of other data.
    """
    stage = recipe.classification
    record = {
        "network": "resnet18",
        "roi_side_px": contract.ROI_SIDE_PX,
        "data": data,
        "initial": {
            "published": _resnet18_published(weights),
            "pretraining": replace(recipe.classification_pretraining.fit, seed=seed),
            "augment": recipe.augment,
        },
        "linear_layer": stage,
    }

    def begin() -> ResNet18:
        network = ResNet18()
        network.load_state_dict(pretrained.state_dict())
        return network

    def fit(network: ResNet18, _state_file: Path) -> ResNet18:
        return fit_linear_layer(network, nodules(), stage.inverse_regularisation)

    return _once(folder, record, begin, fit)


def _phantoms(count: int) -> list[Sample]:
    return phantom_samples(count, _TRAINING_PHANTOM_SEED, _TRAINING_NODULE_SHARE)


def _resnet18_published(weights: StartingWeights) -> str | None:
    return None if weights.resnet18 is None else weights.resnet18.name


def _no_figure(_epoch: int, _network: nn.Module) -> str:
    """No figure of held-out images is looked at while fitting: nothing could be chosen by it."""
    return ""


def _once(
    folder: Path,
    record: Mapping[str, object],
    begin: Callable[[], Network],
    fit: Callable[[Network, Path], Network],
) -> Network:
    """Read a finished run, or fit and keep it; an interrupted fit goes on where it was."""
    run = Run(folder)
    network = begin()
    if run.record.is_file():
        _require_same(run.record, record)
        run.load_into(network)
        return network
    begun, state_file = folder / "begun.json", folder / "state.pt"
    if state_file.is_file():
        _require_same(begun, record)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        begun.write_text(json.dumps(record, indent=2, default=asdict) + "\n")
    fitted = fit(network, state_file)
    run.save(fitted, dict(record))
    begun.unlink()
    return fitted


def _require_same(path: Path, record: Mapping[str, object]) -> None:
    """Require that a kept record is of this very run: same data, beginning and settings."""
    wanted = json.loads(json.dumps(record, default=asdict))
    kept = json.loads(path.read_text()) if path.is_file() else {}
    differing = sorted(key for key in wanted if kept.get(key) != wanted[key])
    if differing:
        raise RunError(
            f"{path} is of another run: it differs in {', '.join(differing)}; give another "
            "folder, or remove this one to fit anew"
        )
