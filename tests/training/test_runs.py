"""A run's folder: what is written is read back, and what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from thyroid_training.augment import AugmentConfig
from thyroid_training.fit import FitConfig
from thyroid_training.runs import Run, RunError


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))


def test_weights_and_record_come_back(tmp_path: Path) -> None:
    run = Run(tmp_path / "new" / "run")
    first = network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run.save(first, {"network": "x", "fit": FitConfig(3), "augment": AugmentConfig(), "epoch": 2})
    second = network().train()
    run.load_into(second)
    assert not second.training
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value)
    record = json.loads(run.record.read_text())
    assert record["torch"] == torch.__version__
    assert (record["network"], record["epoch"]) == ("x", 2)
    assert record["fit"]["epochs"] == 3
    assert record["augment"]["rotation_deg"] == AugmentConfig().rotation_deg
    assert sorted(path.name for path in run.folder.iterdir()) == ["run.json", "weights.pt"]


def test_a_later_save_replaces_the_earlier(tmp_path: Path) -> None:
    run, last = Run(tmp_path), network()
    run.save(network(), {"epoch": 1})
    run.save(last, {"epoch": 2})
    read = network()
    run.load_into(read)
    assert torch.equal(read.get_parameter("0.weight"), last.get_parameter("0.weight"))
    assert json.loads(run.record.read_text())["epoch"] == 2


def test_a_save_that_is_cut_off_leaves_the_earlier_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both files come into their places by one rename each; here the second never comes."""
    run = Run(tmp_path)
    run.save(network(), {"epoch": 1})
    renamed: list[Path] = []
    rename = Path.replace

    def replace_once(self: Path, target: Path) -> Path:
        renamed.append(target)
        if len(renamed) == 2:
            raise OSError("the disk is full")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace_once)
    with pytest.raises(OSError, match="the disk is full"):
        run.save(network(), {"epoch": 2})
    assert renamed == [run.weights, run.record]
    assert json.loads(run.record.read_text())["epoch"] == 1
    run.load_into(network())


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.save(network(), {"network": "x", "fit": FitConfig(3)})
    assert run.read_record() == json.loads(run.record.read_text())
    assert run.read_record()["network"] == "x"
    with pytest.raises(FileNotFoundError, match=r"run.json does not exist: the folder of a"):
        Run(tmp_path / "none").read_record()


def test_weights_are_read_by_name(tmp_path: Path) -> None:
    run, first = Run(tmp_path), network()
    run.save(first, {})
    state = run.read_state()
    assert list(state) == list(first.state_dict())
    assert all(torch.equal(state[name], value) for name, value in first.state_dict().items())


def test_a_run_without_weights_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"weights.pt does not exist: the folder of a"):
        Run(tmp_path).load_into(network())


def test_weights_of_another_network_are_told(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.save(network(), {})
    with pytest.raises(RunError, match=r"weights.pt does not hold the weights of this Linear"):
        run.load_into(nn.Linear(2, 2))


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 cut"])
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(RunError, match=r"does not hold the weights"):
        Run(tmp_path).load_into(network())
    with pytest.raises(RunError, match=r"does not hold the weights of a network"):
        Run(tmp_path).read_state()
