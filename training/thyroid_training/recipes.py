"""The recipes behind `thyroid-train`: from a folder of data to a run, and to figures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from thyroid_pipeline import contract
from thyroid_training.augment import AugmentConfig
from thyroid_training.checkpoint import load_resnet18, load_transunet, onnx_path
from thyroid_training.dataset import Sample, phantom_samples, read_ddti, split_folds
from thyroid_training.evaluate import (
    evaluate_classification,
    evaluate_segmentation,
    require_both_grades,
    silence_share,
)
from thyroid_training.fit import FitConfig
from thyroid_training.fit_classification import fit_classification, labelled_nodules
from thyroid_training.fit_segmentation import fit_segmentation, mean_dice
from thyroid_training.resnet18 import ResNet18
from thyroid_training.runs import Run
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import SIZES

# Phantoms are seeded apart, so that those judged on were never trained on.
_TRAINING_PHANTOM_SEED = 1_000
_JUDGED_PHANTOM_SEED = 500_000
_JUDGED_PHANTOMS = 100
_TRAINING_NODULE_SHARE = 0.6

# The held-out figure is looked at every so often, and the weights kept, so that a run which is cut
# short still leaves some.
_KEEP_EVERY_EPOCHS = 5


def split(samples: list[Sample], fold: int) -> tuple[list[Sample], list[Sample]]:
    """The samples outside a fold, to fit on, and those in it, held out."""
    held_out = set(split_folds(samples)[fold])
    return (
        [sample for index, sample in enumerate(samples) if index not in held_out],
        [sample for index, sample in enumerate(samples) if index in held_out],
    )


def run_segmentation(
    data: Path,
    out: Path,
    *,
    size: str,
    epochs: int,
    learning_rate: float,
    phantom_count: int,
    fold: int,
    seed: int,
    initial_folder: Path | None,
) -> None:
    """Fit a TransUNet and keep it in a run's folder; see `thyroid-train segmentation`."""
    fitted_on, held_out = split(read_ddti(data), fold)
    phantoms = phantom_samples(phantom_count, _TRAINING_PHANTOM_SEED, _TRAINING_NODULE_SHARE)
    config = FitConfig(epochs, learning_rate=learning_rate, seed=seed)
    augment_config, run = AugmentConfig(), Run(out)
    initial, initial_record = None, None
    if initial_folder is not None:
        initial, initial_record = TransUNet(SIZES[size]), Run(initial_folder).read_record()
        _refuse_learnt_images(initial_record, fold)
        Run(initial_folder).load_into(initial)

    def after_epoch(epoch: int, network: TransUNet) -> str:
        if epoch % _KEEP_EVERY_EPOCHS and epoch != epochs:
            return ""
        figure = mean_dice(network, held_out)
        run.save(
            network,
            {
                "network": f"transunet-{size}",
                "data": {"ddti": len(fitted_on), "phantoms": phantom_count, "held_out_fold": fold},
                "initial": initial_record,
                "epoch": epoch,
                "fit": config,
                "augment": augment_config,
                "held_out_dice_on_grid": figure,
            },
        )
        return f"held-out Dice {figure:.3f}"

    fit_segmentation(
        [*fitted_on, *phantoms],
        SIZES[size],
        config,
        augment_config,
        after_epoch,
        initial=initial,
    )


def _refuse_learnt_images(initial_record: Mapping[str, object], fold: int) -> None:
    """Weights that have seen the held-out images would make every figure of them worthless."""
    data = initial_record.get("data")
    seen = data.get("held_out_fold") if isinstance(data, Mapping) else None
    if seen != fold:
        raise ValueError(
            f"the initial run held out fold {seen}, fold {fold} was wanted: it has learnt images "
            "that this run would be judged on; give `--fold` as it was there, or another run"
        )


def run_classification(
    data: Path, out: Path, segmentation_file: Path, *, epochs: int, fold: int, seed: int
) -> None:
    """Fit a ResNet-18 and keep it in a run's folder; see `thyroid-train classification`."""
    fitted_on, held_out = split(read_ddti(data), fold)
    segmentation = load_transunet(segmentation_file)
    require_both_grades([sample.label for sample in held_out], f"held-out fold {fold}")
    nodules = labelled_nodules(fitted_on, segmentation)
    config, augment_config, run = FitConfig(epochs, seed=seed), AugmentConfig(), Run(out)

    def after_epoch(epoch: int, network: ResNet18) -> str:
        if epoch % _KEEP_EVERY_EPOCHS and epoch != epochs:
            return ""
        figures = evaluate_classification(segmentation, network, held_out)
        run.save(
            network,
            {
                "network": "resnet18",
                "data": {"ddti_graded": len(nodules), "held_out_fold": fold},
                "segmentation_sha256": hashlib.sha256(segmentation_file.read_bytes()).hexdigest(),
                "epoch": epoch,
                "fit": config,
                "augment": augment_config,
                "held_out_auroc": figures["auroc"],
            },
        )
        return f"held-out AUROC {figures['auroc']:.3f}"

    fit_classification(nodules, config, augment_config, after_epoch)


def run_evaluation(data: Path, model_repository: Path, *, fold: int) -> dict[str, object]:
    """Judge the networks of a repository on a held-out fold; see `thyroid-train evaluate`."""
    _, held_out = split(read_ddti(data), fold)
    segmentation = load_transunet(onnx_path(model_repository, contract.TRANSUNET))
    classification = load_resnet18(onnx_path(model_repository, contract.RESNET18))
    with_nodule = phantom_samples(_JUDGED_PHANTOMS, _JUDGED_PHANTOM_SEED, nodule_share=1.0)
    without = phantom_samples(
        _JUDGED_PHANTOMS, _JUDGED_PHANTOM_SEED + _JUDGED_PHANTOMS, nodule_share=0.0
    )
    return {
        "held_out_fold": fold,
        "ddti_segmentation": evaluate_segmentation(segmentation, held_out),
        "ddti_classification": evaluate_classification(segmentation, classification, held_out),
        "phantom_segmentation": evaluate_segmentation(segmentation, with_nodule),
        "phantom_no_nodule_silent_share": silence_share(segmentation, without),
    }
