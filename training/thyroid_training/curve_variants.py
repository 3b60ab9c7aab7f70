"""TransUNets of other sides, encoders, depths and widths than the shipped one, by its recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from thyroid_training.fold_fits import FoldFits, as_read
from thyroid_training.protocol import FOLDS
from thyroid_training.published_weights import published_name, start_transunet
from thyroid_training.recipe import Recipe
from thyroid_training.runs import Run
from thyroid_training.stages import StartingWeights, train_segmentation
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import COMPACT_LITE0, SIZES, TransUNetConfig


def variants() -> dict[str, TransUNetConfig]:
    """Shapes by name; each encoder is one whose published weights are installed."""
    shipped = SIZES["compact"]
    sides = (128, 160, 192, 224, 256)
    narrow = replace(shipped, bridge_width=64, decoder_widths=(48, 32, 16))
    return {
        **{f"side_{side}": replace(shipped, image_size=side) for side in sides},
        **{f"lite0_side_{side}": replace(COMPACT_LITE0, image_size=side) for side in sides},
        **{f"layers_{depth}": replace(shipped, vit_depth=depth) for depth in (0, 1)},
        "decoder_narrow": narrow,
        "decoder_wide": replace(shipped, bridge_width=128, decoder_widths=(96, 64, 48)),
        "narrow_layers_1": replace(narrow, vit_depth=1),
        "narrow_side_128": replace(narrow, image_size=128),
    }


def is_shipped(config: TransUNetConfig) -> bool:
    """Whether a shape is the shipped network's own."""
    return config == SIZES["compact"]


def describe_variant(name: str) -> dict[str, Any]:
    """Return a variant's shape as the curve's document has it.

    Args:
        name: A key of `variants()`.
    """
    config = variants()[name]
    return {
        "name": name,
        "side_px": config.image_size,
        "encoder": published_name(config, None),
        "transformer_layers": config.vit_depth,
        "decoder_widths": config.decoder_widths,
        "parameters": sum(value.numel() for value in TransUNet(config).parameters()),
        "shipped": is_shipped(config),
    }


def fit_variant(fits: FoldFits, name: str, fold: int, out: Path) -> TransUNet:
    """Fit a variant on all folds but one, or read it where it was fitted.

    Args:
        fits: The recipe and the sets.
        name: A key of `variants()`.
        fold: Which is held out.
        out: Folder of all variants' runs.

    Returns:
        The network, in evaluation mode.

    Raises:
        RunError: The folder holds a run of another recipe.
        ValueError: There is no such variant, or the recipe is of another size or has a pretraining.
    """
    _require_plain(fits.recipe)
    known = variants()
    if name not in known:
        raise ValueError(f"{name!r} is no variant; one of {', '.join(known)} was wanted: name it")
    samples = fits.fitted_on(fold)
    torch.manual_seed(fits.recipe.segmentation.fit.seed)
    return as_read(
        train_segmentation(
            fits.recipe,
            samples,
            start_transunet(known[name], None),
            run_folder(out, name, fold),
            {
                "ddti": len(samples),
                "held_out_fold": fold,
                "folds": FOLDS,
            },
            weights=StartingWeights(),
        )
    )


def finished_folds(out: Path, name: str) -> list[int]:
    """Held-out folds for which a variant was fitted to the end."""
    return [fold for fold in range(FOLDS) if Run(run_folder(out, name, fold)).record.is_file()]


def run_folder(out: Path, name: str, fold: int) -> Path:
    """Where a variant's run of a fold lies."""
    return out / name / f"fold_{fold}"


def _require_plain(recipe: Recipe) -> None:
    if recipe.size != "compact" or recipe.pretraining is not None:
        raise ValueError(
            f"the recipe has `size` {recipe.size!r} and "
            f"{'no' if recipe.pretraining is None else 'a'} pretraining; 'compact' and none were "
            "wanted, as of the shipped network: give training/recipes/compact.toml"
        )
