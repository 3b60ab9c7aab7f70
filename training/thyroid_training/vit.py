"""The vision transformer between TransUNet's encoder and decoder (arXiv 2010.11929)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thyroid_training.transunet_config import TransUNetConfig


class Attention(nn.Module):
    """Multi-head self-attention: [B, N, width] to the same shape."""

    def __init__(self, config: TransUNetConfig) -> None:
        super().__init__()
        width = config.vit_width
        self.heads = config.vit_heads
        # One product for query, key and value, as exporters and TensorRT would fuse them anyway.
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, width] to [B, N, width]."""
        # Scaled before the product of query and key, which is what lets TensorRT fuse it.
        query, key, value = (self._split(part) for part in self.qkv(x).chunk(3, dim=2))
        attended = F.scaled_dot_product_attention(query, key, value)  # [B, heads, N, width/heads]
        return self.out(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        parts = x.unflatten(2, (self.heads, -1))  # type: ignore[no-untyped-call]
        return parts.transpose(1, 2)  # type: ignore[no-any-return]  # [B, heads, N, width/heads]


class Layer(nn.Module):
    """One pre-norm transformer layer: [B, N, width] to the same shape."""

    def __init__(self, config: TransUNetConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.vit_width, eps=1e-6)
        self.attention = Attention(config)
        self.mlp_norm = nn.LayerNorm(config.vit_width, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(config.vit_width, config.vit_mlp_width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.vit_mlp_width, config.vit_width),
            nn.Dropout(config.dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, width] to [B, N, width]."""
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    """Feature map to feature map through tokens: one token for each pixel of the map."""

    def __init__(self, config: TransUNetConfig) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(config.stage_widths[2], config.vit_width, 1)
        self.position = nn.Parameter(torch.zeros(1, config.grid**2, config.vit_width))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.Sequential(*(Layer(config) for _ in range(config.vit_depth)))
        self.norm = nn.LayerNorm(config.vit_width, eps=1e-6)
        self.grid = config.grid

    def forward(self, x: Tensor) -> Tensor:
        """[B, stage_widths[2], G, G] to [B, vit_width, G, G]."""
        tokens = self.embedding(x).flatten(2).transpose(1, 2)  # [B, G*G, vit_width]
        tokens = self.layers(self.dropout(tokens + self.position))
        tokens = self.norm(tokens).transpose(1, 2)  # [B, vit_width, G*G]
        return tokens.unflatten(2, (self.grid, self.grid))  # type: ignore[no-any-return]
