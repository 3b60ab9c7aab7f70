"""Fitting TransUNet: frames and outlines to the nodule's probability."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from thyroid_pipeline import contract
from thyroid_training.augment import AugmentConfig, augment
from thyroid_training.dataset import Sample, shrink, shrink_mask
from thyroid_training.fit import FitConfig, fit
from thyroid_training.metrics import dice
from thyroid_training.serving import SegmentationGraph, normalise
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import TransUNetConfig


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
    samples: Sequence[Sample],
    network_config: TransUNetConfig,
    config: FitConfig,
    augment_config: AugmentConfig,
    after_epoch: Callable[[int, TransUNet], str],
    *,
    initial: TransUNet | None = None,
) -> TransUNet:
    """Fit a TransUNet, from nothing or from weights that it has.

    Args:
        samples: Frames with outlines.
        network_config: Its shape.
        config: How it is fitted.
        augment_config: How samples are varied.
        after_epoch: See `thyroid_training.fit.fit`.
        initial: A network of this shape to go on from; left as it is.

    Returns:
        The network with averaged weights, in evaluation mode.

    Raises:
        ValueError: `initial` has another shape.
    """
    torch.manual_seed(config.seed)
    network = TransUNet(network_config)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if initial is not None:
        if initial.config != network_config:
            raise ValueError(
                f"the initial weights are of {initial.config}, {network_config} was wanted: give "
                "weights of the same size"
            )
        network.load_state_dict(initial.state_dict())
    side = network_config.image_size

    def loss_of(network: TransUNet, chosen: Sequence[int], rng: np.random.Generator) -> Tensor:
        pairs = [
            augment(samples[index].frame, samples[index].mask, rng, augment_config)
            for index in chosen
        ]
        frames = np.stack([shrink(frame, side) for frame, _ in pairs])[:, None]
        masks = np.stack([shrink_mask(mask, side) for _, mask in pairs])[:, None]
        inputs = normalise(torch.from_numpy(frames).to(torch.float32))
        truth = torch.from_numpy(masks).to(torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(inputs.contiguous(memory_format=torch.channels_last))
        return segmentation_loss(logits.to(torch.float32), truth)

    return fit(network, len(samples), loss_of, config, after_epoch)


@torch.no_grad()
def predict_probability(
    network: TransUNet, frames: Sequence[npt.NDArray[np.uint8]]
) -> list[npt.NDArray[np.uint8]]:
    """Run frames through the network as it is served.

    Args:
        network: In evaluation mode.
        frames: UINT8 [FRAME_SIDE_PX, FRAME_SIDE_PX] each.

    Returns:
        UINT8 [NETWORK_SIDE_PX, NETWORK_SIDE_PX] each: probability times 255.
    """
    graph = SegmentationGraph(network).eval()
    return [graph(torch.from_numpy(frame)[None, None])[0, 0].numpy() for frame in frames]


def mean_dice(network: TransUNet, samples: Sequence[Sample]) -> float:
    """Mean Dice over samples on the network's grid, at probability one half.

    A quick figure to watch while fitting; the judged one is in pixels of the original image.
    """
    maps = predict_probability(network, [sample.frame for sample in samples])
    half = contract.PROBABILITY_SCALE / 2
    return float(
        np.mean(
            [
                dice(
                    probability >= half,
                    shrink_mask(sample.mask, len(probability)),
                )
                for probability, sample in zip(maps, samples, strict=True)
            ]
        )
    )
