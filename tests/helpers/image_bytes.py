"""Image files laid byte by byte, for what no library writes: odd depths, odd chunks, lies."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}  # samples per pixel: grey, grey + alpha, RGB, RGBA


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels: NDArray[np.uint8 | np.uint16], before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of 8 or 16 bit, with chunks of one's own before and after the pixels.

    Args:
        pixels: [height, width] or [height, width, samples], UINT8 or UINT16.
        before: Chunks between header and pixels.
        after: Chunks behind the pixels.
    """
    samples = pixels.reshape(*pixels.shape[:2], -1)
    height, width, count = samples.shape
    rows = samples.astype(samples.dtype.newbyteorder(">")).reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    depth = 8 * samples.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, depth, _PNG_COLOUR[count], 0, 0, 0)
    return (
        PNG_SIGNATURE
        + png_chunk(b"IHDR", header)
        + before
        + png_chunk(b"IDAT", zlib.compress(raw))
        + after
        + png_chunk(b"IEND", b"")
    )


def mend_png(data: bytes) -> bytes:
    """Put right the checksums of a PNG's chunks, so that damage reaches what reads them."""
    mended, position = bytearray(data[:8]), 8
    while position + 12 <= len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        end = position + 8 + length
        if end + 4 > len(data):
            break
        mended += data[position:end] + struct.pack(">I", zlib.crc32(data[position + 4 : end]))
        position = end + 4
    return bytes(mended + data[position:])


def tiff(tags: dict[int, int | None], data: bytes, order: str = "<") -> bytes:
    """A TIFF of one directory; a tag of value None holds where the data begin.

    Args:
        tags: Tag numbers and their values, each one 32-bit integer.
        data: What follows the directory.
        order: "<" for Intel's byte order, ">" for Motorola's.
    """
    start = 8 + 2 + 12 * len(tags) + 4
    directory = struct.pack(order + "H", len(tags))
    for tag, value in sorted(tags.items()):
        directory += struct.pack(order + "HHII", tag, 4, 1, start if value is None else value)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "I", 8) + directory + struct.pack(order + "I", 0) + data


def grey_tiff(
    pixels: NDArray[np.uint8 | np.uint16],
    *,
    order: Literal["<", ">"] = "<",
    bits: int | None = None,
    white_is_zero: bool = False,
    more_tags: Sequence[tuple[int, int]] = (),
) -> bytes:
    """An uncompressed grey TIFF in one strip; `bits` may say other than the pixels' own depth."""
    height, width = pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    tags: dict[int, int | None] = {
        256: width,
        257: height,
        258: bits or 8 * pixels.dtype.itemsize,
        259: 1,
        262: 0 if white_is_zero else 1,
        273: None,
        277: 1,
        278: height,
        279: len(data),
    }
    return tiff({**tags, **dict(more_tags)}, data, order)
