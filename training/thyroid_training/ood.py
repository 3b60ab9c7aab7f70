"""How unlike a frame is to those that TransUNet was fitted on, from its own features.

The features are averages and spreads of maps that the network computes anyway. A set of frames is
described by their mean and covariance; the distance of a frame is Mahalanobis' (Lee et al., arXiv
1807.03888), to the nearest set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.covariance import LedoitWolf
from torch import Tensor, nn

Features = npt.NDArray[np.float32]

# Of a feature, as a share of the median moving feature's.
_SMALLEST_SPREAD = 0.05


class OodGate(nn.Module):
    """Distance of features to the nearest of several sets, 1 at the limit.

    A gate just made is empty and finds nothing strange; `fit_gate` makes one that does.

    Args:
        set_count: Number of sets.
        width: Number of features.
    """

    mean: Tensor
    whitening: Tensor
    limit: Tensor

    def __init__(self, set_count: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(set_count, 1, width))
        self.register_buffer("whitening", torch.zeros(set_count, width, width))
        self.register_buffer("limit", torch.ones(set_count, 1))

    @classmethod
    def shaped_as(cls, state: Mapping[str, Tensor], width: int) -> OodGate:
        """An empty gate for as many sets as a graph's state holds, where it holds any."""
        return cls(len(state["gate.mean"]) if "gate.mean" in state else 1, width)

    def forward(self, features: Tensor) -> Tensor:
        """FP32 [B, width] to FP32 [B, 1]: 0 or more, 1 at the limit."""
        whitened = torch.matmul(features[None] - self.mean, self.whitening)  # [sets, B, width]
        distance = torch.sqrt((whitened * whitened).mean(dim=2))  # [sets, B]
        return (distance / self.limit).amin(dim=0).unsqueeze(1)


def fit_gate(sets: Sequence[Features], limits: Sequence[float]) -> OodGate:
    """Describe sets of frames by their features.

    With about as many frames as features the covariance must be shrunk (Ledoit and Wolf, J.
    Multivariate Analysis 88, 2004), for its inverse to mean anything.

    Args:
        sets: FP32 [frames, width] each, features of frames that the network knows.
        limits: For each set the distance at which a frame counts as strange, in units of the
            median distance of the set's own frames.

    Returns:
        The gate.

    Raises:
        ValueError: A set is too small or all alike, or the numbers of sets and limits differ.
    """
    if len(sets) != len(limits) or not sets:
        raise ValueError(
            f"{len(sets)} sets came with {len(limits)} limits: one limit for each set was wanted"
        )
    gate = OodGate(len(sets), sets[0].shape[1])
    for number, (features, limit) in enumerate(zip(sets, limits, strict=True)):
        if len(features) < 3:
            raise ValueError(
                f"{len(features)} frames describe no set: give at least 3, better hundreds"
            )
        # Features of very different sizes: shrinking towards a multiple of the identity is fair
        # only where all have one variance.
        mean, spread = features.mean(axis=0), features.std(axis=0)
        moving = np.ptp(features, axis=0) > 0
        if not moving.any():
            raise ValueError(f"{len(features)} frames of a set are all alike: give different ones")
        # A feature that hardly ever moves would shout at the slightest change.
        spread = np.maximum(spread, _SMALLEST_SPREAD * np.median(spread[moving]))
        estimate = LedoitWolf().fit((features - mean) / spread)
        values, vectors = np.linalg.eigh(estimate.covariance_)
        whitening = vectors / np.sqrt(np.maximum(values, 1e-6)) / spread[:, None]
        gate.mean[number, 0] = torch.from_numpy(mean)
        gate.whitening[number] = torch.from_numpy(whitening)
        with torch.no_grad():
            own = _distances(gate, number, features)
        gate.limit[number] = float(np.median(own)) * limit
    return gate


def _distances(gate: OodGate, number: int, features: Features) -> npt.NDArray[np.float32]:
    whitened = (torch.from_numpy(features) - gate.mean[number]) @ gate.whitening[number]
    return np.asarray((whitened * whitened).mean(dim=1).sqrt().numpy(), np.float32)


def relative_distances(known: Features, asked: Features) -> npt.NDArray[np.float32]:
    """Distances of frames to one set, in units of the median distance of the set's own frames.

    Args:
        known: FP32 [frames, width], the set.
        asked: FP32 [others, width].

    Returns:
        FP32 [others].
    """
    gate = fit_gate([known], [1.0])
    with torch.no_grad():
        return np.asarray(gate(torch.from_numpy(asked))[:, 0].numpy(), np.float32)
