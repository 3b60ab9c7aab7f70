"""The loop that fits: what it goes on from when it was interrupted, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from line_fit import Line, line_loss, no_figure, numbered, varied
from thyroid_training.fit import Batch, FitConfig, fit


def noisy() -> nn.Sequential:
    """A network that draws while it is fitted, and keeps statistics."""
    layers = nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1)
    return nn.Sequential(*layers)


def noisy_loss(network: nn.Module, batch: Batch) -> Tensor:
    index, x = batch
    return F.mse_loss(network(x.float())[:, 0].float(), index.float())


class Interrupted(Exception):  # noqa: N818 - no error of the code under test
    pass


def interrupt_after(last: int) -> Callable[[int, nn.Module], str]:
    def after_epoch(epoch: int, network: nn.Module) -> str:
        if epoch == last:
            raise Interrupted
        return ""

    return after_epoch


NOISY = FitConfig(epochs=5, batch_size=2, learning_rate=0.05, average_decay=0.7, seed=1)


def run_noisy(after_epoch: Callable[[int, nn.Module], str], state_file: Path | None) -> nn.Module:
    torch.manual_seed(0)
    network = noisy()
    return fit(network, varied(1), noisy_loss, NOISY, after_epoch, state_file=state_file)


@pytest.mark.parametrize("interruptions", [(1,), (3,), (1, 2, 4)])
def test_an_interrupted_fit_goes_on_as_if_nothing_had_been(
    tmp_path: Path, interruptions: tuple[int, ...]
) -> None:
    wanted = run_noisy(no_figure, None).state_dict()
    state_file = tmp_path / "new folder" / "state.pt"
    for last in interruptions:
        with pytest.raises(Interrupted):
            run_noisy(interrupt_after(last), state_file)
        assert state_file.is_file()
        assert [path.name for path in state_file.parent.iterdir()] == ["state.pt"]
    epochs: list[int] = []

    def count(epoch: int, network: nn.Module) -> str:
        epochs.append(epoch)
        return ""

    got = run_noisy(count, state_file).state_dict()
    assert epochs == list(range(interruptions[-1] + 1, 6))
    assert list(state_file.parent.iterdir()) == []
    for name, value in wanted.items():
        assert torch.allclose(got[name], value, rtol=1e-6, atol=1e-7), name
    # It would have shown: an epoch less is another network.
    torch.manual_seed(0)
    shorter = fit(noisy(), varied(1), noisy_loss, FitConfig(4, 2, 0.05, seed=1), no_figure)
    assert not torch.allclose(shorter.get_parameter("0.weight"), wanted["0.weight"], atol=1e-4)


@pytest.mark.parametrize(
    ("config", "count"),
    [(FitConfig(4, batch_size=1), 3), (FitConfig(3, batch_size=1, seed=1), 3), (None, 4)],
    ids=["epochs", "seed", "samples"],
)
def test_the_state_of_another_fit_is_refused(
    tmp_path: Path, config: FitConfig | None, count: int
) -> None:
    state_file, begun = tmp_path / "state.pt", FitConfig(3, batch_size=1)
    with pytest.raises(Interrupted):
        fit(Line(), numbered(3), line_loss([]), begun, interrupt_after(1), state_file=state_file)
    before = state_file.read_bytes()
    with pytest.raises(
        ValueError, match=r"state.pt is the state of a fit with .* was wanted: remove it to begin"
    ):
        fit(
            Line(),
            numbered(count),
            line_loss([]),
            config or begun,
            no_figure,
            state_file=state_file,
        )
    assert state_file.read_bytes() == before


def test_the_state_of_another_network_is_refused(tmp_path: Path) -> None:
    state_file, config = tmp_path / "state.pt", FitConfig(3, batch_size=1)
    with pytest.raises(Interrupted):
        fit(Line(), numbered(3), line_loss([]), config, interrupt_after(1), state_file=state_file)
    with pytest.raises(ValueError, match=r"state.pt .*this Linear.*: remove it to begin anew"):
        fit(
            nn.Linear(3, 1),
            numbered(3),
            lambda network, _: network.weight.square().sum(),
            config,
            no_figure,
            state_file=state_file,
        )


@pytest.mark.parametrize("content", [b"", b"no state at all", b"PK\x03\x04 cut"])
def test_a_damaged_state_is_told(tmp_path: Path, content: bytes) -> None:
    state_file = tmp_path / "state.pt"
    state_file.write_bytes(content)
    with pytest.raises(ValueError, match=r"state.pt cannot be read .*: remove it to begin"):
        fit_from(state_file)


def test_a_file_of_something_else_is_told(tmp_path: Path) -> None:
    state_file = tmp_path / "state.pt"
    torch.save({"w": torch.zeros(1)}, state_file)
    with pytest.raises(ValueError, match=r"state.pt is .* remove it to begin anew"):
        fit_from(state_file)


def fit_from(state_file: Path) -> None:
    """Fit a line for one epoch, from a state if it can be read."""
    config = FitConfig(1, batch_size=1)
    fit(Line(), numbered(3), line_loss([]), config, no_figure, state_file=state_file)
