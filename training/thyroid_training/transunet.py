"""TransUNet (Chen et al., arXiv 2102.04306): where the nodule is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thyroid_training.encoder import Encoder
from thyroid_training.transunet_config import TransUNetConfig
from thyroid_training.vit import VisionTransformer


def _convolve(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class DecoderBlock(nn.Module):
    """Doubles the side, joins the skip, convolves twice."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_convolve(inputs + skip, outputs), _convolve(outputs, outputs))

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """[B, inputs, H, W] and [B, skip, 2H, 2W] to [B, outputs, 2H, 2W]."""
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        if skip is not None:
            x = torch.cat((x, skip), dim=1)
        return self.layers(x)  # type: ignore[no-any-return]


class TransUNet(nn.Module):
    """Residual encoder, vision transformer, decoder with three skips.

    Args:
        config: Its shape; `transunet_config.PAPER` or `transunet_config.COMPACT`.
    """

    def __init__(self, config: TransUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.transformer = VisionTransformer(config)
        self.bridge = _convolve(config.vit_width, config.bridge_width)
        skips = (config.stage_widths[1], config.stage_widths[0], config.stem_width, 0)
        inputs = (config.bridge_width, *config.decoder_widths[:-1])
        self.decoder = nn.ModuleList(
            DecoderBlock(before, skip, after)
            for before, skip, after in zip(inputs, skips, config.decoder_widths, strict=True)
        )
        self.head = nn.Conv2d(config.decoder_widths[-1], 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """The nodule's logit for each pixel.

        Args:
            x: FP32 [B, 1, image_size, image_size], normalised grey.

        Returns:
            FP32 [B, 1, image_size, image_size], logits.
        """
        if self.config.in_channels == 3:
            x = x.expand(-1, 3, -1, -1)
        half, quarter, eighth, x = self.encoder(x)
        x = self.bridge(self.transformer(x))  # [B, bridge_width, S/16, S/16]
        for block, skip in zip(self.decoder, (eighth, quarter, half, None), strict=True):
            x = block(x, skip)
        return self.head(x)  # type: ignore[no-any-return]
