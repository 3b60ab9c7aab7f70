"""What fitting either network has in common: the optimiser's plan, averaged weights, the loop."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

Network = TypeVar("Network", bound=nn.Module)
Item = tuple[npt.NDArray[np.generic] | np.generic, ...]
Batch = Sequence[Tensor]

# Workers that make batches beside a GPU. On a CPU the network takes the cores itself.
_MOST_WORKERS = 8


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
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    average_decay: float = 0.99
    seed: int = 0


class VariedSamples(Dataset[Item]):
    """Training samples that are varied anew in each epoch, whoever of several workers makes them.

    Args:
        count: Number of samples.
        make: Makes one item, arrays of fixed shapes, of a sample's index and a source of draws.
        seed: Of all draws.
    """

    def __init__(
        self, count: int, make: Callable[[int, np.random.Generator], Item], seed: int
    ) -> None:
        self.count, self._make, self._seed = count, make, seed
        self.epoch = 0

    def __len__(self) -> int:
        """Number of samples."""
        return self.count

    def __getitem__(self, index: int) -> Item:
        """The sample's item in this epoch; always the same one."""
        return self._make(index, np.random.default_rng((self._seed, self.epoch, index)))


def best_device() -> torch.device:
    """The GPU where there is one that torch can use."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    network: Network,
    samples: VariedSamples,
    loss_of: Callable[[Network, Batch], Tensor],
    config: FitConfig,
    after_epoch: Callable[[int, Network], str],
    *,
    state_file: Path | None = None,
) -> Network:
    """Fit a network on the GPU, or where there is none on the CPU, in mixed precision (bfloat16).

    Args:
        network: Fitted in place.
        samples: What on.
        loss_of: Gives the loss of one batch, FP32, called within autocast.
        config: How.
        after_epoch: Called with the epoch's number, from 1, and the averaged network in evaluation
            mode; what it returns stands in the progress bar.
        state_file: Where to keep all that is needed to go on after an interruption; if it is there,
            fitting goes on from it. It is removed when done.

    Returns:
        The averaged network, on the CPU, in evaluation mode.

    Raises:
        ValueError: There are fewer samples than one batch, or the state is of another fit.
    """
    steps_per_epoch = len(samples) // config.batch_size
    if steps_per_epoch == 0:
        raise ValueError(
            f"{len(samples)} training samples are fewer than one batch of {config.batch_size}: "
            "give more samples or a smaller `batch_size`"
        )
    device = best_device()
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = _State(network, config, steps_per_epoch, len(samples))
    done = state.load(state_file) if state_file is not None else 0
    bar = tqdm(
        range(done + 1, config.epochs + 1),
        desc="fitting",
        unit="epoch",
        initial=done,
        total=config.epochs,
        disable=None,
    )
    for epoch in bar:
        network.train()
        samples.epoch = epoch
        losses = []
        for batch in _batches(samples, config, epoch, device):
            state.optimiser.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16):
                loss = loss_of(network, [part.to(device, non_blocking=True) for part in batch])
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            state.step()
            losses.append(loss.detach())
        if state_file is not None:
            state.save(state_file, epoch)
        mean_loss = torch.stack(losses).mean().item()
        bar.set_postfix_str(f"loss {mean_loss:.3f} {after_epoch(epoch, state.averaged.eval())}")
    if state_file is not None:
        state_file.unlink(missing_ok=True)
    return cast(Network, state.averaged.cpu().eval())


def _batches(
    samples: VariedSamples, config: FitConfig, epoch: int, device: torch.device
) -> DataLoader[Any]:
    beside_gpu = device.type == "cuda"
    return DataLoader(
        samples,
        config.batch_size,
        shuffle=True,
        drop_last=True,
        # The order of an epoch is its own, so that a resumed run goes on as it would have.
        generator=torch.Generator().manual_seed(hash((config.seed, epoch))),
        num_workers=min(_MOST_WORKERS, (os.cpu_count() or 1) - 1) if beside_gpu else 0,
        pin_memory=beside_gpu,
    )


class _State:
    """Optimiser, plan and averaged weights of a fit, which can be kept and taken up again."""

    def __init__(
        self, network: nn.Module, config: FitConfig, steps_per_epoch: int, sample_count: int
    ) -> None:
        self._network = network
        self._fit = asdict(config) | {"sample_count": sample_count}
        self._average = AveragedModel(
            network,
            multi_avg_fn=get_ema_multi_avg_fn(config.average_decay),  # type: ignore[no-untyped-call]
            use_buffers=True,
        )
        self.optimiser = torch.optim.AdamW(
            network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self._plan = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser,
            config.learning_rate,
            epochs=config.epochs,
            steps_per_epoch=steps_per_epoch,
            # torch divides by zero where the climb takes exactly one step, as a tenth of ten does.
            pct_start=min(0.75, max(0.1, 1.5 / (config.epochs * steps_per_epoch))),
        )

    @property
    def averaged(self) -> Any:
        """The network with averaged weights."""
        return self._average.module

    def step(self) -> None:
        """Let the optimiser step, the plan and the average follow."""
        self.optimiser.step()
        self._plan.step()
        self._average.update_parameters(self._network)

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self._network,
            "average": self._average,
            "optimiser": self.optimiser,
            "plan": self._plan,
        }

    def save(self, path: Path, epoch: int) -> None:
        """Keep everything; a reader never sees half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        parts |= {"epoch": epoch, "fit": self._fit, "draws": torch.get_rng_state()}
        torch.save(parts, partial)
        partial.replace(path)

    def load(self, path: Path) -> int:
        """Take up what `save` kept: the number of epochs done, 0 where there is nothing."""
        if not path.is_file():
            return 0
        try:
            parts = torch.load(path, weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{path} cannot be read ({_in_short(error)}): remove it to begin the fit anew"
            ) from error
        begun_with = parts.get("fit") if isinstance(parts, dict) else None
        if begun_with != self._fit:
            raise ValueError(
                f"{path} is the state of a fit with {begun_with}, {self._fit} was wanted: remove "
                "it to begin anew, or give the settings it was begun with"
            )
        try:
            for name, part in self._parts().items():
                part.load_state_dict(parts[name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"{path} is not the state of this {type(self._network).__name__} "
                f"({_in_short(error)}): remove it to begin anew"
            ) from error
        torch.set_rng_state(parts["draws"])
        return int(parts["epoch"])


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
