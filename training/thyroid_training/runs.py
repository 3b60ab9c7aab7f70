"""Where a training run keeps its weights and its figures: one folder a run."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn


class RunError(ValueError):
    """A run's folder does not hold what was wanted of it."""


@dataclass(frozen=True)
class Run:
    """A folder with `weights.pt` (a state dict) and `run.json` (what made it and how it did)."""

    folder: Path

    @property
    def weights(self) -> Path:
        """The state dict's file."""
        return self.folder / "weights.pt"

    @property
    def record(self) -> Path:
        """The file that says what made the weights."""
        return self.folder / "run.json"

    def save(self, network: nn.Module, record: dict[str, object]) -> None:
        """Write weights and record; a reader never sees half of either."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / "partial"
        torch.save({k: v.contiguous() for k, v in network.state_dict().items()}, partial)
        partial.replace(self.weights)
        text = json.dumps({"torch": torch.__version__, **record}, indent=2, default=asdict)
        partial.write_text(text + "\n")
        partial.replace(self.record)

    def read_record(self) -> dict[str, object]:
        """What made the weights, as `save` wrote it.

        Raises:
            FileNotFoundError: The folder holds no run.
        """
        if not self.record.is_file():
            raise FileNotFoundError(
                f"{self.record} does not exist: the folder of a `thyroid-train` run was wanted"
            )
        record: dict[str, object] = json.loads(self.record.read_text())
        return record

    def read_state(self) -> dict[str, Tensor]:
        """The weights, by name.

        Raises:
            FileNotFoundError: The run holds no weights yet.
            RunError: They cannot be read.
        """
        if not self.weights.is_file():
            raise FileNotFoundError(
                f"{self.weights} does not exist: the folder of a finished `thyroid-train` run was "
                "wanted"
            )
        try:
            state: dict[str, Tensor] = torch.load(self.weights, weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise self._unfit("a network", error) from error
        return state

    def load_into(self, network: nn.Module) -> None:
        """Load the weights into a network of the same shape.

        Raises:
            FileNotFoundError: The run holds no weights yet.
            RunError: Its weights are not this network's, or cannot be read.
        """
        state = self.read_state()
        try:
            network.load_state_dict(state)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise self._unfit(f"this {type(network).__name__}", error) from error
        network.eval()

    def _unfit(self, wanted: str, error: Exception) -> RunError:
        reason = " ".join(str(error).strip().split("\n")[:2])[:200]
        return RunError(
            f"{self.weights} does not hold the weights of {wanted} ({reason}): give the folder of "
            "the run that fitted it, or run it again"
        )
