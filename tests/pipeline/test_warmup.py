"""The warm-up picture: the same bytes everywhere, and a picture that can be screened."""

from __future__ import annotations

import hashlib

import numpy as np

from thyroid_pipeline.decode import decode_image
from thyroid_pipeline.frame import make_frame
from thyroid_pipeline.warmup import warmup_image

# What a server is warmed up with lies in the model repository, too: change both or neither.
SHA_256 = "548ea3781ea9a8ba0870cdc682be4ca40460134ac84f67bad2f60ab3aecf5f0f"


def test_the_bytes_are_the_same_everywhere() -> None:
    assert hashlib.sha256(warmup_image()).hexdigest() == SHA_256


def test_it_passes_the_first_step_whole() -> None:
    frame, geometry = make_frame(warmup_image())
    assert (geometry.image_height_px, geometry.image_width_px) == (96, 128)
    assert (geometry.sector_width_px, geometry.sector_height_px) == (128, 96)
    assert frame.any()


def test_it_shows_a_dark_disc() -> None:
    grey = decode_image(warmup_image()).astype(np.float64)
    rows, columns = np.indices(grey.shape)
    disc = (rows - 48) ** 2 + (columns - 64) ** 2 < 24**2
    assert grey[~disc].mean() - grey[disc].mean() > 60
