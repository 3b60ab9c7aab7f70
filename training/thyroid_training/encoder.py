"""The residual encoder of TransUNet: a BiT ResNet-50 at full size, a small ResNet when compact."""

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


def _convolution(
    config: TransUNetConfig, inputs: int, outputs: int, kernel: int, stride: int = 1
) -> nn.Conv2d:
    kind = StandardisedConv2d if config.norm == "group" else nn.Conv2d
    return kind(inputs, outputs, kernel, stride, kernel // 2, bias=False)


def _normalisation(
    config: TransUNetConfig, channels: int, *, per_channel: bool = False
) -> nn.Module:
    if config.norm == "batch":
        return nn.BatchNorm2d(channels)
    if per_channel:
        return nn.GroupNorm(channels, channels, eps=1e-5)
    return nn.GroupNorm(GROUPS, channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """One block: [B, inputs, H, W] to [B, outputs, H/stride, W/stride].

    Kernels 1-3-1 with a quarter of the width inside (bottleneck), or 3-3 (basic); a projected
    shortcut where the shape changes.
    """

    def __init__(self, config: TransUNetConfig, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        if config.block == "bottleneck":
            inner = outputs // EXPANSION
            plan = [(inputs, inner, 1, 1), (inner, inner, 3, stride), (inner, outputs, 1, 1)]
        else:
            plan = [(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)]
        layers: list[nn.Module] = []
        for number, (before, after, kernel, step) in enumerate(plan):
            layers += [_convolution(config, before, after, kernel, step)]
            layers += [_normalisation(config, after)]
            if number < len(plan) - 1:
                layers += [nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                _convolution(config, inputs, outputs, 1, stride),
                _normalisation(config, outputs, per_channel=True),
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H/stride, W/stride]."""
        return F.relu(self.layers(x) + self.shortcut(x))


class Encoder(nn.Module):
    """The picture to feature maps at 1/2, 1/4, 1/8 and 1/16."""

    def __init__(self, config: TransUNetConfig) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _convolution(config, config.in_channels, config.stem_width, config.stem_kernel, 2),
            _normalisation(config, config.stem_width),
            nn.ReLU(inplace=True),
        )
        self.stem_pool = config.stem_pool
        self.stages = nn.ModuleList()
        inputs = config.stem_width
        for number, (width, depth) in enumerate(
            zip(config.stage_widths, config.stage_depths, strict=True)
        ):
            stride = 1 if number == 0 and config.stem_pool else 2
            blocks = [ResidualBlock(config, inputs, width, stride)]
            blocks += [ResidualBlock(config, width, width, 1) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = width

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[B, in_channels, S, S] to maps of sides S/2, S/4, S/8 and S/16."""
        half = self.stem(x)  # [B, stem_width, S/2, S/2]
        x = half
        if self.stem_pool:
            # Windows begin at 0 and pad to the right, as where the published weights were trained.
            x = F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 3, 2)  # [B, stem_width, S/4, S/4]
        quarter = self.stages[0](x)  # [B, stage_widths[0], S/4, S/4]
        eighth = self.stages[1](quarter)  # [B, stage_widths[1], S/8, S/8]
        sixteenth = self.stages[2](eighth)  # [B, stage_widths[2], S/16, S/16]
        return half, quarter, eighth, sixteenth
