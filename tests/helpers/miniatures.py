"""Networks of the served sides that run in milliseconds."""

from __future__ import annotations

import dataclasses

from thyroid_training.transunet_config import COMPACT, PAPER

TINY_COMPACT = dataclasses.replace(
    COMPACT,
    stem_width=8,
    stage_widths=(8, 16, 16),
    stage_depths=(1, 1, 2),
    vit_width=16,
    vit_depth=1,
    vit_heads=2,
    vit_mlp_width=32,
    bridge_width=8,
    decoder_widths=(8, 8, 8),
)

# The paper's layers: weight standardisation, group normalisation, bottlenecks.
TINY_PAPER = dataclasses.replace(
    PAPER,
    stem_width=32,
    stage_widths=(128, 128, 128),
    stage_depths=(1, 1, 1),
    vit_width=32,
    vit_depth=1,
    vit_heads=2,
    vit_mlp_width=64,
    bridge_width=16,
    decoder_widths=(16, 8, 8, 8),
)
