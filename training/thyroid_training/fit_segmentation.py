"""Fitting TransUNet: frames and outlines to the nodule's probability."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from thyroid_training.augment import AugmentConfig, augment
from thyroid_training.dataset import Sample, shrink, shrink_mask
from thyroid_training.fit import Batch, FitConfig, Item, VariedSamples, fit
from thyroid_training.serving import SegmentationGraph, normalise, quantise
from thyroid_training.transunet import TransUNet


def segmentation_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy plus Dice, half each, as TransUNet is trained (arXiv 2102.04306, section 4.2).

    Cross-entropy alone favours the background, which is nine tenths of a frame; Dice alone has no
    gradient worth the name where nothing is found yet.

    Args:
        logits: FP32 [B, 1, S, S].
        truth: FP32 of the same shape, 0 or 1.

    Returns:
        FP32 scalar.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, truth)
    probability = torch.sigmoid(logits)
    # Per sample, so that a large nodule does not outweigh a small one; the 1 keeps a frame without
    # a nodule defined, and rewards its silence.
    overlap = (probability * truth).sum(dim=(1, 2, 3))
    total = probability.sum(dim=(1, 2, 3)) + truth.sum(dim=(1, 2, 3))
    dice_loss = 1 - (2 * overlap + 1) / (total + 1)
    return 0.5 * cross_entropy + 0.5 * dice_loss.mean()


def fit_segmentation(
    network: TransUNet,
    samples: Sequence[Sample],
    config: FitConfig,
    augment_config: AugmentConfig,
    after_epoch: Callable[[int, TransUNet], str],
    *,
    state_file: Path | None = None,
) -> TransUNet:
    """Fit a TransUNet from the weights that it has.

    Args:
        network: Fitted in place.
        samples: Frames with outlines.
        config: How it is fitted.
        augment_config: How samples are varied.
        after_epoch: See `thyroid_training.fit.fit`.
        state_file: Likewise.

    Returns:
        The network with averaged weights, in evaluation mode.
    """
    side = network.config.image_size

    def make(index: int, rng: np.random.Generator) -> Item:
        sample = samples[index]
        # Varied at the frame's side and then averaged down, as the served graph does it.
        frame, mask = augment(sample.frame, sample.mask, rng, augment_config)
        return shrink(frame, side)[None], shrink_mask(mask, side)[None]

    def loss_of(network: TransUNet, batch: Batch) -> Tensor:
        frame, mask = batch
        inputs = normalise(frame.to(torch.float32))
        logits = network(inputs.contiguous(memory_format=torch.channels_last))
        with torch.autocast(frame.device.type, enabled=False):
            return segmentation_loss(logits.to(torch.float32), mask.to(torch.float32))

    torch.manual_seed(config.seed)  # of dropout
    varied = VariedSamples(len(samples), make, config.seed)
    return fit(network, varied, loss_of, config, after_epoch, state_file=state_file)


@torch.no_grad()
def predict(
    network: TransUNet, frames: Sequence[npt.NDArray[np.uint8]]
) -> tuple[list[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]:
    """Run frames through the network as it is served.

    Args:
        network: In evaluation mode.
        frames: UINT8 [FRAME_SIDE_PX, FRAME_SIDE_PX] each.

    Returns:
        maps: UINT8 [MAP_SIDE_PX, MAP_SIDE_PX] each, probability times 255.
        features: FP32 [frames, feature_count], see `SegmentationGraph.look`.
    """
    graph = SegmentationGraph(network).eval()
    maps, features = [], np.empty((len(frames), network.feature_count), np.float32)
    for row, frame in enumerate(frames):
        probability, seen = graph.look(torch.from_numpy(frame)[None, None])
        maps.append(quantise(probability)[0, 0].numpy())
        features[row] = seen[0].numpy()
    return maps, features
