"""Masks as 1-bit PNG, there and back."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from image_bytes import PNG_SIGNATURE
from pictures import encode, png_header
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.mask_png import decode_mask, encode_mask

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40))


@given(masks)
def test_there_and_back(mask: NDArray[np.bool_]) -> None:
    decoded = decode_mask(encode_mask(mask))
    assert decoded.dtype == np.bool_
    assert np.array_equal(decoded, mask)


@given(masks)
def test_another_library_reads_white_where_true(mask: NDArray[np.bool_]) -> None:
    read = cv2.imdecode(np.frombuffer(encode_mask(mask), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(read.reshape(mask.shape), np.where(mask, 255, 0))


@given(masks)
def test_it_is_one_bit_of_grey_indeed(mask: NDArray[np.bool_]) -> None:
    data = encode_mask(mask)
    assert data[:8] == PNG_SIGNATURE
    assert data[12:16] == b"IHDR"
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    assert (height, width) == mask.shape
    assert (depth, colour) == (1, 0)


@given(masks, st.integers(1, 3), st.integers(1, 3))
def test_a_view_of_an_array_is_encoded_as_it_looks(
    mask: NDArray[np.bool_], row_step: int, column_step: int
) -> None:
    for view in (mask[::row_step, ::column_step], mask.T, mask[::-1]):
        assert np.array_equal(decode_mask(encode_mask(view)), view)


def test_a_mask_of_a_whole_frame_is_small() -> None:
    rows, columns = np.indices((1080, 1440))
    disc = (rows - 500) ** 2 + (columns - 700) ** 2 < 200**2
    assert len(encode_mask(disc)) < 8000


GREY = Image.new("L", (20, 10), 255)


@pytest.mark.parametrize(
    "data",
    [b"", b"a mask", encode(GREY, "BMP"), encode(GREY.convert("1"), "TIFF"), png_header(8, 8)],
    ids=["empty", "text", "BMP", "1-bit TIFF", "no pixels"],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(
        ImageError,
        match=rf"a mask of {len(data)} bytes cannot be read as PNG; a 1-bit PNG was wanted: pass "
        "the mask output on unchanged",
    ):
        decode_mask(data)


def test_a_truncated_mask_is_refused() -> None:
    data = encode_mask(np.random.default_rng(0).random((50, 60)) > 0.5)
    for length in (20, len(data) // 2, len(data) - 40):
        with pytest.raises(ImageError, match="cannot be read as PNG"):
            decode_mask(data[:length])


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA"])
def test_other_pixels_are_refused(mode: str) -> None:
    with pytest.raises(ImageError, match=f"a mask has pixels of type {mode}; a 1-bit PNG was"):
        decode_mask(encode(GREY.convert(mode)))
