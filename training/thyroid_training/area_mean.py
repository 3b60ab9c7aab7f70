"""Averaging a picture down to a side that need not divide its own, in a graph that exports."""

from __future__ import annotations

from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AreaMean(nn.Module):
    """Makes a square picture smaller: each new pixel is the mean of the area that it covers.

    It does what OpenCV's INTER_AREA does, by which training pictures are made. Where the new side
    divides the old one that is an average pool. Else the picture parts into the smallest blocks
    that become whole new pixels, 7 x 7 into 3 x 3 from 448 to 192; one convolution gives the new
    pixels of each block as channels, and they are laid side by side. PyTorch's own area
    interpolation weighs pixels that are covered in part like whole ones, and does not export.

    Args:
        side_px: Of the pictures that come.
        wanted_px: Of those that go.

    Raises:
        ValueError: `wanted_px` is not from 1 to `side_px`.
    """

    kernel: Tensor

    def __init__(self, side_px: int, wanted_px: int) -> None:
        super().__init__()
        if not 1 <= wanted_px <= side_px:
            raise ValueError(
                f"a side of {wanted_px} px came, for pictures of {side_px} px; from 1 to {side_px} "
                "was wanted, since a mean makes nothing larger: give a smaller side"
            )
        common = gcd(side_px, wanted_px)
        self.block, self.cells = side_px // common, wanted_px // common
        shares = _covered_shares(self.block, self.cells)
        kernel = torch.einsum("iy,jx->ijyx", shares, shares).reshape(-1, 1, self.block, self.block)
        # No weight: it follows from the sides, and is in no checkpoint.
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """FP32 [B, 1, side_px, side_px] to FP32 [B, 1, wanted_px, wanted_px]."""
        if self.cells == 1:
            return F.avg_pool2d(x, self.block)
        return F.pixel_shuffle(F.conv2d(x, self.kernel, stride=self.block), self.cells)


def _covered_shares(block: int, cells: int) -> Tensor:
    """How much of each new pixel comes from each old one: FP32 [cells, block], rows add up to 1.

    In units of 1/cells of an old pixel a new one is `block` long and an old one `cells`.
    """
    new, old = torch.arange(cells)[:, None], torch.arange(block)[None]
    end = torch.minimum((new + 1) * block, (old + 1) * cells)
    begin = torch.maximum(new * block, old * cells)
    return (end - begin).clamp(min=0).to(torch.float32) / block
