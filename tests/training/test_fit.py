"""The loop that fits: what it shows of the samples, and what it keeps."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from line_fit import Line, line_loss, no_figure, numbered, varied
from thyroid_training import fit as module
from thyroid_training.fit import Batch, FitConfig, fit

# --- samples


def test_a_varied_sample_is_the_same_for_seed_epoch_and_index() -> None:
    first, again = varied(seed=1), varied(seed=1)
    drawn = set()
    for epoch in (1, 2):
        first.epoch = again.epoch = epoch
        for index in (4, 0, 2):  # in any order, and again
            item, same = first[index][1], again[index][1]
            assert np.array_equal(item, same)
            assert np.array_equal(item, first[index][1])
            drawn.add(tuple(np.asarray(item).tolist()))
    assert len(drawn) == 6  # each of its own
    other = varied(seed=2)
    other.epoch = 2
    assert not np.array_equal(other[2][1], first[2][1])
    assert len(first) == 5


def test_each_epoch_shows_each_sample_at_most_once_in_full_batches() -> None:
    seen: list[list[int]] = []
    fit(Line(), numbered(11), line_loss(seen), FitConfig(epochs=6, batch_size=4), no_figure)
    assert [len(batch) for batch in seen] == [4] * 12  # three of eleven wait for the next pass
    for epoch in range(6):
        shown = [index for batch in seen[2 * epoch : 2 * epoch + 2] for index in batch]
        assert len(set(shown)) == 8
        assert set(shown) <= set(range(11))
    assert {index for batch in seen for index in batch} == set(range(11))
    assert len({tuple(batch) for batch in seen}) > 6  # in another order each time


def test_samples_are_told_the_epoch() -> None:
    samples = numbered(2)
    epochs: list[int] = []

    def loss_of(network: Line, batch: Batch) -> Tensor:
        epochs.append(samples.epoch)
        return network.w.square().sum()

    fit(Line(), samples, loss_of, FitConfig(epochs=3, batch_size=1), no_figure)
    assert epochs == [1, 1, 2, 2, 3, 3]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_beside_a_gpu_make_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader as a GPU gets it, less pinned memory, which only a GPU can give."""
    settings: list[dict[str, Any]] = []

    def unpinned(*arguments: Any, **options: Any) -> Any:
        settings.append(dict(options))
        return DataLoader(*arguments, **{**options, "pin_memory": False})

    monkeypatch.setattr(module, "DataLoader", unpinned)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    samples, config = varied(seed=4), FitConfig(epochs=2, batch_size=2, seed=4)
    for epoch in (1, 2):
        samples.epoch = epoch
        alone, beside = (
            [
                [part.tolist() for part in batch]
                for batch in module._batches(samples, config, epoch, torch.device(kind))
            ]
            for kind in ("cpu", "cuda")
        )
        assert len(alone) == 2
        assert alone == beside
    used = [(each["num_workers"], each["pin_memory"]) for each in settings]
    assert used == [(0, False), (2, True)] * 2


# --- weights


def test_goes_to_the_minimum_and_keeps_the_average() -> None:
    network = Line()
    config = FitConfig(
        epochs=120, batch_size=4, learning_rate=0.1, weight_decay=0.0, average_decay=0.9
    )
    kept = fit(network, numbered(4), line_loss([]), config, no_figure)
    assert kept is not network
    assert not kept.training
    assert kept.w.item() == pytest.approx(3, abs=0.05)


def test_average_is_the_exponential_moving_one() -> None:
    weights: list[float] = []
    network = Line()

    def loss_of(line: Line, batch: Batch) -> Tensor:
        weights.append(line.w.item())
        return (line.w - 3).square().sum()

    config = FitConfig(epochs=7, batch_size=1, learning_rate=0.05, average_decay=0.8)
    kept = fit(network, numbered(1), loss_of, config, no_figure)
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

    config = FitConfig(epochs=3, batch_size=2)
    kept = fit(Line(), numbered(4), line_loss([]), config, after_epoch)
    assert told == [(1, False), (2, False), (3, False)]
    assert all(network is kept for network in networks)


def test_seed_fixes_order_and_result() -> None:
    runs = []
    for seed in (5, 5, 6):
        seen: list[list[int]] = []
        config = FitConfig(3, batch_size=2, seed=seed)
        kept = fit(Line(), numbered(9), line_loss(seen), config, no_figure)
        runs.append((seen, kept.w.item()))
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[2][0]


@pytest.mark.parametrize("steps", [*range(1, 13), 15, 20])
def test_any_number_of_steps_is_a_plan(steps: int) -> None:
    """A tenth of ten steps is one step, of which torch's plan makes a division by zero."""
    seen: list[list[int]] = []
    fit(Line(), numbered(1), line_loss(seen), FitConfig(steps, batch_size=1), no_figure)
    assert len(seen) == steps


def test_fewer_samples_than_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"11 training samples are fewer .* of 12: give more"):
        fit(Line(), numbered(11), line_loss([]), FitConfig(1, batch_size=12), no_figure)


def test_computes_in_half_precision_and_keeps_weights_whole() -> None:
    network, kinds = nn.Linear(4, 1), []

    def loss_of(network: nn.Linear, batch: Batch) -> Tensor:
        answer = network(torch.ones(2, 4))
        kinds.append(answer.dtype)
        loss: Tensor = answer.float().square().mean()
        return loss

    kept = fit(network, numbered(2), loss_of, FitConfig(1, batch_size=2), no_figure)
    assert kinds == [torch.bfloat16]
    assert {parameter.dtype for parameter in kept.parameters()} == {torch.float32}
