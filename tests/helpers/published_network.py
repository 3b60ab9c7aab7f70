"""R50+ViT-B/16 as published: the layout of its file, and what it computes, by NumPy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from thyroid_training.transunet_config import TransUNetConfig

Floats = NDArray[np.float64]
Arrays = dict[str, NDArray[np.float32]]


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
