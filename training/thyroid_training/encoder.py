"""The residual encoder of the paper-size TransUNet: a BiT ResNet-50 (arXiv 1912.11370)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thyroid_training.transunet_config import EXPANSION, GROUPS, TransUNetConfig


class StandardisedConv2d(nn.Conv2d):
    """A convolution whose kernels are standardised before use (arXiv 1903.10520).

    Each output channel's kernel has mean 0 and variance 1. `fold` fixes the standardised kernels,
    for engines that want weights to be constants; a folded convolution is a plain one from then on,
    in training too.
    """

    _EPSILON = 1e-5

    folded: bool = False

    def standardised(self) -> Tensor:
        """The kernels in use: FP32 [out, in, height, width]."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        return (self.weight - mean) / torch.sqrt(variance + self._EPSILON)

    def fold(self) -> None:
        """Replace the weights by their standardised values, once and for good."""
        if not self.folded:
            self.weight.data.copy_(self.standardised())
            self.folded = True

    def forward(self, x: Tensor) -> Tensor:
        """Convolve; see `nn.Conv2d`."""
        weight = self.weight if self.folded else self.standardised()
        return self._conv_forward(x, weight, self.bias)  # type: ignore[no-any-return]


def fold_standardisation(network: nn.Module) -> None:
    """Fold the weight standardisation of every convolution in a network, in place."""
    for module in network.modules():
        if isinstance(module, StandardisedConv2d):
            module.fold()


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> StandardisedConv2d:
    return StandardisedConv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


def _normalisation(channels: int) -> nn.Module:
    return nn.GroupNorm(GROUPS, channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """One bottleneck: [B, inputs, H, W] to [B, outputs, H/stride, W/stride].

    Kernels 1-3-1 with a quarter of the width inside; a projected shortcut where the shape changes.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = outputs // EXPANSION
        self.layers = nn.Sequential(
            _convolution(inputs, inner, 1),
            _normalisation(inner),
            nn.ReLU(inplace=True),
            _convolution(inner, inner, 3, stride),
            _normalisation(inner),
            nn.ReLU(inplace=True),
            _convolution(inner, outputs, 1),
            _normalisation(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                _convolution(inputs, outputs, 1, stride),
                nn.GroupNorm(outputs, outputs, eps=1e-5),
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H/stride, W/stride]."""
        return F.relu(self.layers(x) + self.shortcut(x))


class ResNetEncoder(nn.Module):
    """The picture to feature maps at 1/2, 1/4, 1/8 and 1/16."""

    def __init__(self, config: TransUNetConfig) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _convolution(config.in_channels, config.stem_width, 7, 2),
            _normalisation(config.stem_width),
            nn.ReLU(inplace=True),
        )
        self.stages = nn.ModuleList()
        inputs = config.stem_width
        for number, (width, depth) in enumerate(
            zip(config.stage_widths, config.stage_depths, strict=True)
        ):
            blocks = [ResidualBlock(inputs, width, 1 if number == 0 else 2)]
            blocks += [ResidualBlock(width, width, 1) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = width

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[B, in_channels, S, S] to maps of sides S/2, S/4, S/8 and S/16."""
        half = self.stem(x)  # [B, stem_width, S/2, S/2]
        # Windows begin at 0 and pad to the right, as where the published weights were trained.
        x = F.max_pool2d(F.pad(half, (0, 1, 0, 1)), 3, 2)  # [B, stem_width, S/4, S/4]
        quarter = self.stages[0](x)  # [B, stage_widths[0], S/4, S/4]
        eighth = self.stages[1](quarter)  # [B, stage_widths[1], S/8, S/8]
        sixteenth = self.stages[2](eighth)  # [B, stage_widths[2], S/16, S/16]
        return half, quarter, eighth, sixteenth
