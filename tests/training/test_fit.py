"""The loop that fits: what it shows of the samples, what it keeps, what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thyroid_training.fit import FitConfig, fit


class Line(nn.Module):
    """y = w x, with w = 3 wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))


def line_loss(
    seen: list[list[int]],
) -> Callable[[Line, Sequence[int], np.random.Generator], Tensor]:
    def loss_of(network: Line, chosen: Sequence[int], rng: np.random.Generator) -> Tensor:
        assert network.training
        seen.append(list(chosen))
        x = torch.tensor([1.0 + index for index in chosen])
        return ((network.w - 3) * x).square().mean()

    return loss_of


def no_figure(epoch: int, network: nn.Module) -> str:
    return ""


def test_each_epoch_shows_each_sample_at_most_once_in_full_batches() -> None:
    seen: list[list[int]] = []
    config = FitConfig(epochs=6, batch_size=4)
    fit(Line(), 11, line_loss(seen), config, no_figure)
    assert [len(batch) for batch in seen] == [4] * 12  # three of eleven wait for the next pass
    for epoch in range(6):
        shown = [index for batch in seen[2 * epoch : 2 * epoch + 2] for index in batch]
        assert len(set(shown)) == 8
        assert set(shown) <= set(range(11))
    assert {index for batch in seen for index in batch} == set(range(11))
    assert len({tuple(batch) for batch in seen}) > 6  # in another order each time


def test_goes_to_the_minimum_and_keeps_the_average() -> None:
    network = Line()
    config = FitConfig(
        epochs=120, batch_size=4, learning_rate=0.1, weight_decay=0.0, average_decay=0.9
    )
    kept = fit(network, 4, line_loss([]), config, no_figure)
    assert kept is not network
    assert not kept.training
    assert kept.w.item() == pytest.approx(3, abs=0.05)


def test_average_is_the_exponential_moving_one() -> None:
    weights: list[float] = []
    network = Line()

    def loss_of(line: Line, chosen: Sequence[int], rng: np.random.Generator) -> Tensor:
        weights.append(line.w.item())
        return (line.w - 3).square().sum()

    config = FitConfig(epochs=7, batch_size=1, learning_rate=0.05, average_decay=0.8)
    kept = fit(network, 1, loss_of, config, no_figure)
    after = [*weights[1:], network.w.item()]  # after each step
    average = after[0]
    for weight in after[1:]:
        average = 0.8 * average + 0.2 * weight
    assert len(set(after)) > 3
    assert kept.w.item() == pytest.approx(average, rel=1e-5)


def test_tells_after_each_epoch_with_the_averaged_network() -> None:
    told: list[tuple[int, bool]] = []
    networks: list[Line] = []

    def after_epoch(epoch: int, network: Line) -> str:
        told.append((epoch, network.training))
        networks.append(network)
        return "told"

    kept = fit(Line(), 4, line_loss([]), FitConfig(epochs=3, batch_size=2), after_epoch)
    assert told == [(1, False), (2, False), (3, False)]
    assert all(network is kept for network in networks)


def test_seed_fixes_order_and_result() -> None:
    runs = []
    for seed in (5, 5, 6):
        seen: list[list[int]] = []
        kept = fit(Line(), 9, line_loss(seen), FitConfig(3, batch_size=2, seed=seed), no_figure)
        runs.append((seen, kept.w.item()))
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[2][0]


@pytest.mark.parametrize("steps", [*range(1, 13), 15, 20])
def test_any_number_of_steps_is_a_plan(steps: int) -> None:
    """A tenth of ten steps is one step, of which torch's plan makes a division by zero."""
    seen: list[list[int]] = []
    fit(Line(), 1, line_loss(seen), FitConfig(steps, batch_size=1), no_figure)
    assert len(seen) == steps


def test_fewer_samples_than_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"11 training samples are fewer .* of 12: give more"):
        fit(Line(), 11, line_loss([]), FitConfig(epochs=1), no_figure)
