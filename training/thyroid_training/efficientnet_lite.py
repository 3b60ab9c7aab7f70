"""The compact TransUNet's encoder: EfficientNet-Lite as far as its maps at 1/16.

EfficientNet (Tan and Le, arXiv 1905.11946) without squeeze-and-excitation and with ReLU6, as its
authors published it for edge devices. It is cheap on a CPU, its activations are bounded, and its
ImageNet weights are small enough to be had as a Python package.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from thyroid_training.transunet_config import TransUNetConfig

# Of the published networks: batch normalisation's epsilon, the widening inside a block, the kernels
# of the stages, and what their widths are rounded to. The stage at 1/16 comes in two halves: five
# sevenths of its width, then all of it.
_EPSILON = 1e-3
_EXPANSION = 6
_KERNELS = (3, 5, 3, 5)
_FIRST_HALF_WIDTH = 5 / 7
_WIDTH_STEP = 8


def _pad_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Pad as TensorFlow's "same" does for even sides, by which the published weights were fitted.

    With stride 2 the right and the lower edge get one pixel more than the left and the upper.
    """
    total = kernel - stride
    before, after = total // 2, total - total // 2
    return F.pad(x, (before, after, before, after))


class InvertedBlock(nn.Module):
    """Widen, convolve each channel, narrow: [B, inputs, H, W] to [B, outputs, H/stride, ...]."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.kernel, self.stride = kernel, stride
        self.residual = stride == 1 and inputs == outputs
        self.expand: nn.Module = nn.Identity()
        if expansion != 1:
            self.expand = nn.Sequential(
                nn.Conv2d(inputs, inner, 1, bias=False),
                nn.BatchNorm2d(inner, _EPSILON),
                nn.ReLU6(inplace=True),
            )
        self.depthwise = nn.Sequential(
            nn.Conv2d(inner, inner, kernel, stride, groups=inner, bias=False),
            nn.BatchNorm2d(inner, _EPSILON),
            nn.ReLU6(inplace=True),
        )
        self.project = nn.Sequential(
            nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs, _EPSILON)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H/stride, W/stride]."""
        y = _pad_same(self.expand(x), self.kernel, self.stride)
        y = self.project(self.depthwise(y))
        return x + y if self.residual else y  # type: ignore[no-any-return]


class EfficientNetLiteEncoder(nn.Module):
    """The picture to feature maps at 1/2, 1/4, 1/8 and 1/16."""

    def __init__(self, config: TransUNetConfig) -> None:
        super().__init__()
        stem_width = 2 * config.stem_width
        self.stem = nn.Sequential(
            nn.Conv2d(config.in_channels, stem_width, 3, 2, bias=False),
            nn.BatchNorm2d(stem_width, _EPSILON),
            nn.ReLU6(inplace=True),
        )
        self.first = InvertedBlock(stem_width, config.stem_width, 3, 1, expansion=1)
        quarter, eighth, sixteenth = config.stage_widths
        half_width = _WIDTH_STEP * max(1, round(sixteenth * _FIRST_HALF_WIDTH / _WIDTH_STEP))
        half_depth = config.stage_depths[2] // 2
        plan = (
            (quarter, config.stage_depths[0], 2),
            (eighth, config.stage_depths[1], 2),
            (half_width, config.stage_depths[2] - half_depth, 2),
            (sixteenth, half_depth, 1),
        )
        self.stages = nn.ModuleList()
        inputs = config.stem_width
        for (width, depth, stride), kernel in zip(plan, _KERNELS, strict=True):
            blocks = [InvertedBlock(inputs, width, kernel, stride, _EXPANSION)]
            blocks += [InvertedBlock(width, width, kernel, 1, _EXPANSION) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = width

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[B, in_channels, S, S] to maps of sides S/2, S/4, S/8 and S/16."""
        half = self.first(self.stem(_pad_same(x, 3, 2)))  # [B, stem_width, S/2, S/2]
        quarter = self.stages[0](half)  # [B, stage_widths[0], S/4, S/4]
        eighth = self.stages[1](quarter)  # [B, stage_widths[1], S/8, S/8]
        sixteenth = self.stages[3](self.stages[2](eighth))  # [B, stage_widths[2], S/16, S/16]
        return half, quarter, eighth, sixteenth
