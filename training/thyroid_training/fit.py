"""What fitting either network has in common: the optimiser's plan, averaged weights, the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class FitConfig:
    """How a network is fitted.

    Attributes:
        epochs: Passes over the training samples.
        batch_size: Samples of one step; a rest too small for a batch waits for the next pass.
        learning_rate: Peak of the one-cycle plan (Smith and Topin, arXiv 1708.07120).
        weight_decay: Of AdamW (Loshchilov and Hutter, arXiv 1711.05101).
        average_decay: Of the exponential moving average of the weights, which is what is kept.
        seed: Of weights, order and augmentation.
    """

    epochs: int
    batch_size: int = 12
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    average_decay: float = 0.99
    seed: int = 0


def fit(
    network: Network,
    sample_count: int,
    loss_of: Callable[[Network, Sequence[int], np.random.Generator], Tensor],
    config: FitConfig,
    after_epoch: Callable[[int, Network], str],
) -> Network:
    """Fit a network.

    Args:
        network: Fitted in place.
        sample_count: Number of training samples.
        loss_of: Makes the batch of the given sample indices and gives its loss.
        config: How.
        after_epoch: Called with the epoch's number, from 1, and the averaged network in evaluation
            mode; what it returns stands in the progress bar.

    Returns:
        The averaged network, in evaluation mode.

    Raises:
        ValueError: There are fewer samples than one batch.
    """
    steps_per_epoch = sample_count // config.batch_size
    if steps_per_epoch == 0:
        raise ValueError(
            f"{sample_count} training samples are fewer than one batch of {config.batch_size}: "
            "give more samples or a smaller `batch_size`"
        )
    rng = np.random.default_rng(config.seed)
    average = AveragedModel(
        network,
        multi_avg_fn=get_ema_multi_avg_fn(config.average_decay),  # type: ignore[no-untyped-call]
        use_buffers=True,
    )
    averaged = cast(Network, average.module)
    optimiser = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    plan = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        config.learning_rate,
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
        # torch divides by zero where the climb takes exactly one step, as a tenth of ten does.
        pct_start=min(0.75, max(0.1, 1.5 / (config.epochs * steps_per_epoch))),
    )
    bar = tqdm(range(1, config.epochs + 1), desc="fitting", unit="epoch", disable=None)
    for epoch in bar:
        network.train()
        order = rng.permutation(sample_count)
        losses = []
        for step in range(steps_per_epoch):
            chosen = order[step * config.batch_size : (step + 1) * config.batch_size].tolist()
            optimiser.zero_grad(set_to_none=True)
            loss = loss_of(network, chosen, rng)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            plan.step()
            average.update_parameters(network)
            losses.append(loss.item())
        averaged.eval()
        bar.set_postfix_str(f"loss {np.mean(losses):.3f} {after_epoch(epoch, averaged)}")
    return averaged
