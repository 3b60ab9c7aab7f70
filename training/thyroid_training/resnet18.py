"""ResNet-18 (He et al., arXiv 1512.03385) for one grey channel: how likely malignant it is.

Parameter names are torchvision's, so that published weights load. The linear layer reads the means
of all four stages, not of the last alone: what a grade hangs on in ultrasound is texture and
brightness, which the early stages see and the last one has left behind.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STAGE_WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3-convolutions with a shortcut: [B, inputs, H, W] to [B, outputs, H/stride, W/stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H/stride, W/stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet18(nn.Module):
    """ResNet-18 with one grey input channel and one logit, above 0 for malignant."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for number, width in enumerate(_STAGE_WIDTHS, start=1):
            stride = 1 if number == 1 else 2
            stage = nn.Sequential(BasicBlock(inputs, width, stride), BasicBlock(width, width, 1))
            self.add_module(f"layer{number}", stage)
            inputs = width
        self.stage_widths = _STAGE_WIDTHS
        self.fc = nn.Linear(sum(_STAGE_WIDTHS), 1)

    def maps(self, x: Tensor) -> tuple[Tensor, ...]:
        """The feature map of each stage.

        Args:
            x: FP32 [B, 1, S, S], normalised grey; S a multiple of 32.

        Returns:
            FP32 [B, 64, S/4, S/4], [B, 128, S/8, S/8], [B, 256, S/16, S/16] and
            [B, 512, S/32, S/32].
        """
        x = F.relu(self.bn1(self.conv1(x)))  # [B, 64, S/2, S/2]
        x = F.max_pool2d(x, 3, 2, 1)  # [B, 64, S/4, S/4]
        maps = []
        for number in range(1, len(_STAGE_WIDTHS) + 1):
            x = self.get_submodule(f"layer{number}")(x)
            maps.append(x)
        return tuple(maps)

    def features(self, x: Tensor) -> Tensor:
        """The feature maps of all stages, averaged down to the size of the last.

        Args:
            x: As for `maps`.

        Returns:
            FP32 [B, 960, S/32, S/32].
        """
        *earlier, last = self.maps(x)
        shrinks = [2**steps for steps in range(len(earlier), 0, -1)]
        averaged = [F.avg_pool2d(part, by) for part, by in zip(earlier, shrinks, strict=True)]
        return torch.cat([*averaged, last], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """FP32 [B, 1, S, S], normalised grey, to the logit of malignancy, FP32 [B, 1]."""
        return self.fc(self.features(x).mean(dim=(2, 3)))  # type: ignore[no-any-return]
