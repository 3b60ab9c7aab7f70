"""The one dataclass from which both sizes of TransUNet are built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from thyroid_pipeline import contract

Norm = Literal["group", "batch"]
Block = Literal["bottleneck", "basic"]

# Of group normalisation, and how much wider a bottleneck's ends are than its middle.
GROUPS = 32
EXPANSION = 4

_STRIDE = 16  # of the whole encoder


@dataclass(frozen=True)
class TransUNetConfig:
    """Shape of a TransUNet (Chen et al., arXiv 2102.04306).

    A residual encoder halves the side four times, a vision transformer works on its last map, and a
    decoder doubles the side four times, taking the encoder's maps at 1/2, 1/4 and 1/8 as skips.

    Attributes:
        image_size: Side of the square input in pixels; a positive multiple of 16.
        in_channels: Channels of the first convolution. 3 repeats the grey picture, as the published
            ImageNet weights want it.
        norm: Normalisation of encoder; "group" comes with weight-standardised convolutions (BiT,
            arXiv 1912.11370) and wants widths that its 32 groups divide, "batch" with plain ones.
        block: Residual block: 1-3-1 bottleneck (expansion 4) or two 3-convolutions.
        stem_kernel: Side of the first convolution's kernel, stride 2.
        stem_pool: Whether a max pool follows the stem; if not, the first stage has stride 2.
        stem_width: Channels at 1/2.
        stage_widths: Channels of the stages' outputs at 1/4, 1/8 and 1/16.
        stage_depths: Number of blocks of each stage.
        vit_width: Width of the transformer's tokens.
        vit_depth: Number of its layers.
        vit_heads: Number of attention heads; divides `vit_width`.
        vit_mlp_width: Width within its multilayer perceptrons.
        dropout: Share of activations dropped in the transformer while training.
        bridge_width: Channels of the convolution from transformer to decoder.
        decoder_widths: Channels of the decoder's four blocks, from 1/8 to 1.

    Raises:
        ValueError: A value names no network; the message says what would.
    """

    image_size: int = contract.NETWORK_SIDE_PX
    in_channels: int = 3
    norm: Norm = "group"
    block: Block = "bottleneck"
    stem_kernel: int = 7
    stem_pool: bool = True
    stem_width: int = 64
    stage_widths: tuple[int, int, int] = (256, 512, 1024)
    stage_depths: tuple[int, int, int] = (3, 4, 9)
    vit_width: int = 768
    vit_depth: int = 12
    vit_heads: int = 12
    vit_mlp_width: int = 3072
    dropout: float = 0.1
    bridge_width: int = 512
    decoder_widths: tuple[int, int, int, int] = (256, 128, 64, 16)

    def __post_init__(self) -> None:
        # A config is also read from files, where no type checker looks.
        for name, value, known in (
            ("in_channels", self.in_channels, (1, 3)),
            ("norm", self.norm, get_args(Norm)),
            ("block", self.block, get_args(Block)),
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
        self._check_groups()

    def _check_groups(self) -> None:
        """Group normalisation parts each map's channels, those within a bottleneck too."""
        groups = GROUPS if self.norm == "group" else 1
        divisor = groups * (EXPANSION if self.block == "bottleneck" else 1)
        for name, width, wanted in (
            ("stem_width", self.stem_width, groups),
            *(("stage_widths", width, divisor) for width in self.stage_widths),
        ):
            if width < wanted or width % wanted:
                raise ValueError(
                    f"`{name}` (={width}) must be divisible by {wanted} with {self.norm} "
                    f"normalisation and {self.block} blocks: take "
                    f"{max(wanted, width - width % wanted)}"
                )

    @property
    def grid(self) -> int:
        """Side of the transformer's token grid."""
        return self.image_size // _STRIDE


PAPER = TransUNetConfig()
"""R50 + ViT-B/16, as in the paper: 105.3 M parameters."""

COMPACT = TransUNetConfig(
    in_channels=1,
    norm="batch",
    block="basic",
    stem_kernel=3,
    stem_pool=False,
    stem_width=24,
    stage_widths=(48, 96, 160),
    stage_depths=(2, 2, 2),
    vit_width=192,
    vit_depth=5,
    vit_heads=3,
    vit_mlp_width=576,
    bridge_width=128,
    decoder_widths=(96, 64, 32, 16),
)
"""For CPUs and edge devices: about 4 M parameters."""

SIZES = {"paper": PAPER, "compact": COMPACT}
