"""The one dataclass from which both sizes of TransUNet are built."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

EncoderKind = Literal["resnet", "efficientnet_lite"]

# Of the ResNet's group normalisation, and how much wider a bottleneck's ends are than its middle.
GROUPS = 32
EXPANSION = 4

_STRIDE = 16  # of the whole encoder


@dataclass(frozen=True)
class TransUNetConfig:
    """Shape of a TransUNet (Chen et al., arXiv 2102.04306).

    A convolutional encoder halves the side four times, a vision transformer works on its last map,
    and a decoder doubles the side, taking the encoder's maps at 1/8, 1/4 and 1/2 as skips.

    Attributes:
        image_size: Side of the square input in pixels; a positive multiple of 16.
        in_channels: Channels of the first convolution. 3 repeats the grey picture, as the published
            R50+ViT-B/16 weights want it; 1 takes EfficientNet-Lite0's summed over colour, which is
            the same.
        encoder: "resnet", a BiT ResNet (arXiv 1912.11370) with weight-standardised convolutions and
            group normalisation, whose widths 128 divides, or "efficientnet_lite".
        stem_width: Channels at 1/2.
        stage_widths: Channels at 1/4, 1/8 and 1/16.
        stage_depths: Number of blocks of each stage; the last of "efficientnet_lite" at least 2.
        vit_width: Width of the transformer's tokens.
        vit_depth: Number of its layers.
        vit_heads: Number of attention heads; divides `vit_width`.
        vit_mlp_width: Width within its multilayer perceptrons.
        dropout: Share of activations dropped in the transformer while training.
        bridge_width: Channels of the convolution from transformer to decoder.
        decoder_widths: Channels of the decoder's blocks, from 1/8 on: four reach the picture's
            side, three leave off at 1/2, where most of a small network's time would go, and the
            logits are interpolated.

    Raises:
        ValueError: A value names no network; the message says what would.
    """

    image_size: int = 224
    in_channels: int = 3
    encoder: EncoderKind = "resnet"
    stem_width: int = 64
    stage_widths: tuple[int, int, int] = (256, 512, 1024)
    stage_depths: tuple[int, int, int] = (3, 4, 9)
    vit_width: int = 768
    vit_depth: int = 12
    vit_heads: int = 12
    vit_mlp_width: int = 3072
    dropout: float = 0.1
    bridge_width: int = 512
    decoder_widths: tuple[int, ...] = (256, 128, 64, 16)

    def __post_init__(self) -> None:
        # A config is also read from files, where no type checker looks.
        for name, value, known in (
            ("in_channels", self.in_channels, (1, 3)),
            ("encoder", self.encoder, get_args(EncoderKind)),
        ):
            if value not in known:
                raise ValueError(
                    f"`{name}` (={value!r}) must be one of {', '.join(map(repr, known))}: "
                    "take one of these"
                )
        if self.image_size < _STRIDE or self.image_size % _STRIDE:
            raise ValueError(
                f"`image_size` (={self.image_size}) must be divisible by {_STRIDE}, the encoder's "
                f"stride: take {max(_STRIDE, self.image_size - self.image_size % _STRIDE)}"
            )
        if self.vit_heads < 1 or self.vit_width % self.vit_heads:
            raise ValueError(
                f"`vit_width` (={self.vit_width}) must be divisible by `vit_heads` "
                f"(={self.vit_heads}), for each head takes an equal part: take another number of "
                "heads"
            )
        if len(self.decoder_widths) not in (3, 4):
            raise ValueError(
                f"`decoder_widths` (={self.decoder_widths}) must hold 3 or 4 widths, one for each "
                "doubling from 1/8 on: give 4 to reach the picture's side"
            )
        if self.encoder == "resnet":
            self._check_groups()
        elif self.stage_depths[2] < 2:
            raise ValueError(
                f"`stage_depths` (={self.stage_depths}) must end in at least 2, for that stage "
                "comes in two halves: take 2"
            )

    def _check_groups(self) -> None:
        """Group normalisation parts each map's channels, those within a bottleneck too."""
        for name, width, wanted in (
            ("stem_width", self.stem_width, GROUPS),
            *(("stage_widths", width, GROUPS * EXPANSION) for width in self.stage_widths),
        ):
            if width < wanted or width % wanted:
                raise ValueError(
                    f"`{name}` (={width}) must be divisible by {wanted}, for its groups are of "
                    f"equal size: take {max(wanted, width - width % wanted)}"
                )

    @property
    def grid(self) -> int:
        """Side of the transformer's token grid."""
        return self.image_size // _STRIDE


PAPER = TransUNetConfig()
"""R50 + ViT-B/16, as in the paper: 105.3 M parameters."""

COMPACT = TransUNetConfig(
    image_size=160,
    in_channels=1,
    encoder="efficientnet_lite",
    stem_width=16,
    stage_widths=(24, 48, 120),
    stage_depths=(3, 3, 8),
    vit_width=192,
    vit_depth=3,
    vit_heads=3,
    vit_mlp_width=576,
    bridge_width=96,
    decoder_widths=(64, 48, 32),
)
"""For CPUs and edge devices: EfficientNet-Lite2 and three layers of transformer, 2.7 M."""

COMPACT_LITE0 = replace(COMPACT, stage_widths=(24, 40, 112), stage_depths=(2, 2, 6))
"""The same around EfficientNet-Lite0, 2.2 M: its encoder is ResNet-18's teacher."""

SIZES = {"paper": PAPER, "compact": COMPACT}
