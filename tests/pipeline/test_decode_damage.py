"""Whatever the bytes are, they decode or are refused: no other exception leaves the decoder."""

from __future__ import annotations

import re

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from image_bytes import grey_tiff, mend_png, png
from pictures import encode
from thyroid_pipeline import contract
from thyroid_pipeline.decode import decode_image
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.mask_png import decode_mask, encode_mask

random = np.random.default_rng(22)
noise = random.integers(0, 256, (64, 80, 4), np.uint8)
deep = random.integers(0, 65536, (64, 80), np.uint16)
smooth = cv2.GaussianBlur(noise, (0, 0), 3)
tags = Image.Exif()
tags[274] = 6
tags[271] = "maker"
tags[34665] = {36867: "2020:01:01 00:00:00"}
grey, colour, alpha = (Image.fromarray(smooth).convert(mode) for mode in ("L", "RGB", "RGBA"))

WHOLE = [
    encode(grey, "PNG", exif=tags.tobytes()),
    encode(colour, "PNG"),
    encode(alpha, "PNG"),
    encode(colour.convert("P"), "PNG", transparency=3),
    encode(colour, "PNG", save_all=True, append_images=[colour.rotate(180)]),
    png(deep),
    encode(grey, "JPEG", exif=tags.tobytes()),
    encode(colour, "JPEG", progressive=True),
    encode(colour.convert("CMYK"), "JPEG"),
    encode(grey, "BMP"),
    encode(colour.convert("P"), "BMP"),
    encode(grey, "TIFF"),
    encode(colour, "TIFF", compression="tiff_lzw"),
    encode(colour, "TIFF", compression="jpeg"),
    encode(grey.convert("1"), "TIFF", compression="group4"),
    grey_tiff(deep, order=">"),
    encode(alpha, "WEBP", exif=tags.tobytes()),
    encode(colour, "WEBP", lossless=True),
    encode(colour, "WEBP", save_all=True, append_images=[colour.rotate(180)]),
]


def decode_or_refuse(data: bytes) -> None:
    try:
        decoded = decode_image(data)
    except ImageError as error:
        message = str(error)
        assert message.isprintable()
        assert message.isascii()
        assert not re.search(r"0x[0-9a-f]{6}|Traceback", message)
    else:
        assert decoded.dtype == np.uint8
        assert decoded.ndim == 2
        assert min(decoded.shape) >= contract.MIN_IMAGE_SIDE_PX
        assert decoded.size <= contract.MAX_IMAGE_PIXELS


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A whole file with bytes changed, cut out or put in, most of them where the headers are."""
    data = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 6))):
        limit = draw(st.sampled_from([60, 400, len(data)]))
        where = draw(st.integers(0, max(0, min(limit, len(data)) - 1)))
        if draw(st.booleans()):  # count from the end: a TIFF has its directory there
            where = max(0, len(data) - 1 - where)
        what = draw(st.integers(0, 5))
        if what <= 2:
            data[where : where + 1] = draw(st.binary(min_size=1, max_size=4))
        elif what == 3:
            data[where : where + 1] = draw(st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x80"]))
        elif what == 4:
            del data[where : where + draw(st.integers(1, 9))]
        else:
            del data[where:]
    whole = bytes(data)
    return mend_png(whole) if whole[:4] == b"\x89PNG" and draw(st.booleans()) else whole


@settings(max_examples=400)
@given(damaged())
def test_damaged_files(data: bytes) -> None:
    decode_or_refuse(data)


@settings(max_examples=200)
@given(
    st.sampled_from(
        [
            b"",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff",
            b"BM",
            b"II*\0",
            b"MM\0*",
            b"RIFF\x40\0\0\0WEBP",
        ]
    ),
    st.binary(max_size=300),
)
def test_any_bytes(magic: bytes, rest: bytes) -> None:
    decode_or_refuse(magic + rest)


@settings(max_examples=200)
@given(st.data())
def test_damaged_masks(data: st.DataObject) -> None:
    png_bytes = bytearray(encode_mask(smooth[..., 0] > 128))
    for _ in range(data.draw(st.integers(1, 4))):
        png_bytes[data.draw(st.integers(0, len(png_bytes) - 1))] = data.draw(st.integers(0, 255))
    del png_bytes[data.draw(st.integers(1, len(png_bytes))) :]
    try:
        mask = decode_mask(mend_png(bytes(png_bytes)))
    except ImageError:
        return
    assert mask.dtype == np.bool_
    assert mask.ndim == 2
