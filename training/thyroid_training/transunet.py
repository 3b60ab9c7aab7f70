"""TransUNet (Chen et al., arXiv 2102.04306): where the nodule is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thyroid_training.efficientnet_lite import EfficientNetLiteEncoder
from thyroid_training.encoder import ResNetEncoder
from thyroid_training.transunet_config import TransUNetConfig
from thyroid_training.vit import VisionTransformer


def _convolve(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _mean_and_spread(map_: Tensor) -> tuple[Tensor, Tensor]:
    mean = map_.mean(dim=(2, 3), keepdim=True)
    return mean[:, :, 0, 0], (map_ - mean).square().mean(dim=(2, 3)).sqrt()


class DecoderBlock(nn.Module):
    """Doubles the side, joins the skip, convolves twice."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_convolve(inputs + skip, outputs), _convolve(outputs, outputs))

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """[B, inputs, H, W] and [B, skip, 2H, 2W] to [B, outputs, 2H, 2W]."""
        x = _double(x)
        if skip is not None:
            x = torch.cat((x, skip), dim=1)
        return self.layers(x)  # type: ignore[no-any-return]


class TransUNet(nn.Module):
    """Convolutional encoder, vision transformer, decoder with three skips.

    Args:
        config: Its shape; `transunet_config.PAPER` or `transunet_config.COMPACT`.
    """

    def __init__(self, config: TransUNetConfig) -> None:
        super().__init__()
        self.config = config
        kind = ResNetEncoder if config.encoder == "resnet" else EfficientNetLiteEncoder
        self.encoder = kind(config)
        self.transformer = VisionTransformer(config)
        self.bridge = _convolve(config.vit_width, config.bridge_width)
        skips = (config.stage_widths[1], config.stage_widths[0], config.stem_width, 0)
        inputs = (config.bridge_width, *config.decoder_widths)
        self.decoder = nn.ModuleList(
            DecoderBlock(before, skip, after)
            for before, skip, after in zip(inputs, skips, config.decoder_widths, strict=False)
        )
        self.head = nn.Conv2d(config.decoder_widths[-1], 1, 3, padding=1)

    @property
    def feature_count(self) -> int:
        """Number of features that `forward_with_features` gives."""
        config = self.config
        maps = (config.stem_width, *config.stage_widths[:2])
        return 2 * sum(maps) + config.stage_widths[2] + config.vit_width

    def forward(self, x: Tensor) -> Tensor:
        """The nodule's logit for each pixel.

        Args:
            x: FP32 [B, 1, image_size, image_size], normalised grey.

        Returns:
            FP32 [B, 1, image_size, image_size], logits.
        """
        logits: Tensor = self.forward_with_features(x)[0]
        return logits

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The nodule's logits, and what the network saw in the whole frame.

        Args:
            x: As of `forward`.

        Returns:
            logits: As of `forward`.
            features: FP32 [B, feature_count]: mean and spread of the maps at 1/2, 1/4 and 1/8,
                which carry texture, and mean of those at 1/16 and of the transformer's answer.
        """
        if self.config.in_channels == 3:
            x = x.expand(-1, 3, -1, -1)
        half, quarter, eighth, sixteenth = self.encoder(x)
        attended = self.transformer(sixteenth)
        features = torch.cat(
            (
                *(part for map_ in (half, quarter, eighth) for part in _mean_and_spread(map_)),
                sixteenth.mean(dim=(2, 3)),
                attended.mean(dim=(2, 3)),
            ),
            dim=1,
        )
        x = self.bridge(attended)  # [B, bridge_width, S/16, S/16]
        for block, skip in zip(self.decoder, (eighth, quarter, half, None), strict=False):
            x = block(x, skip)
        x = self.head(x)
        # A decoder of three blocks has left off at 1/2.
        return x if x.shape[-1] == self.config.image_size else _double(x), features
