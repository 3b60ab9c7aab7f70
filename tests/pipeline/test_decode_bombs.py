"""Small files that would grow: refused before they have cost memory or time."""

from __future__ import annotations

import re
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_bytes import grey_tiff, png, png_chunk, tiff
from pictures import encode, png_header
from thyroid_pipeline import contract
from thyroid_pipeline.decode import decode_image
from thyroid_pipeline.errors import ImageError

GREY = np.random.default_rng(23).integers(0, 256, (70, 90), np.uint8)
LIMIT = f"{contract.MAX_IMAGE_PIXELS:,}"
MIB = 1024**2


def matches(data: bytes, pattern: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    assert re.search(pattern, str(caught.value)), str(caught.value)


# --- headers


def huge_headers() -> dict[str, bytes]:
    """50,000 x 50,000 pixels, or as many as the format has room for, and hardly any data."""
    grey = Image.new("L", (64, 64))
    jpeg = bytearray(encode(grey, "JPEG"))
    size = jpeg.index(b"\xff\xc0") + 5
    jpeg[size : size + 4] = b"\xc3\x50\xc3\x50"
    bmp = bytearray(encode(grey, "BMP"))
    bmp[18:26] = (50_000).to_bytes(4, "little") * 2
    lossless = b"\x2f" + ((16382 << 14) | 16382).to_bytes(4, "little") + bytes(21)
    webp = b"WEBPVP8L" + len(lossless).to_bytes(4, "little") + lossless
    return {
        "PNG": png_header(50_000, 50_000),
        "JPEG": bytes(jpeg),
        "BMP": bytes(bmp),
        "TIFF": grey_tiff(np.zeros((2, 2), np.uint8), more_tags=[(256, 50_000), (257, 50_000)]),
        "WEBP": b"RIFF" + len(webp).to_bytes(4, "little") + webp,
    }


@pytest.mark.parametrize("image_format", contract.IMAGE_FORMATS)
def test_a_huge_header_costs_nothing(image_format: str) -> None:
    data = huge_headers()[image_format]
    assert len(data) < 6000
    tracemalloc.start()
    matches(data, f"far more than {LIMIT} pixels, the largest accepted: scale the image down")
    assert tracemalloc.get_traced_memory()[1] < 2 * MIB
    tracemalloc.stop()


# --- bombs


def text_bomb(kind: bytes, count: int = 1) -> bytes:
    packed = zlib.compress(bytes(20_000_000), 9)
    head = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[kind]
    return png_chunk(kind, head + packed) * count


def tile_bomb() -> bytes:
    side = 12_000
    packed = zlib.compress(bytes(side * side), 9)
    tags = {256: 90, 257: 70, 258: 8, 259: 8, 262: 1, 277: 1}
    tiles = {322: side, 323: side, 324: None, 325: len(packed)}
    return tiff({**tags, **tiles}, packed)


def scan_bomb(scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = encode(Image.new("L", (2000, 2000), 128), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * scans + data[-2:]


BOMBS = {
    "zTXt": png(GREY, before=text_bomb(b"zTXt")),
    "zTXt behind": png(GREY, after=text_bomb(b"zTXt")),
    "iTXt": png(GREY, before=text_bomb(b"iTXt")),
    "iCCP": png(GREY, before=text_bomb(b"iCCP")),
    "zTXt, many": png(GREY, before=text_bomb(b"zTXt", 50)),
    "tiles": tile_bomb(),
    "scans": scan_bomb(3000),
    **huge_headers(),
}


@pytest.mark.parametrize("name", ["zTXt", "zTXt behind", "iTXt", "iCCP", "zTXt, many"])
def test_a_bomb_among_a_pngs_remarks_is_not_unpacked(name: str) -> None:
    tracemalloc.start()
    matches(BOMBS[name], "Decompressed data too large")
    assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    tracemalloc.stop()


def test_a_tile_far_larger_than_the_picture_is_not_unpacked() -> None:
    assert len(BOMBS["tiles"]) < 200_000
    matches(
        BOMBS["tiles"],
        rf"TIFF image is stored in tiles of 12000 x 12000 pixels, at most {LIMIT} in all are "
        "accepted: save it anew without tiles",
    )


def test_thousands_of_scans_are_not_painted() -> None:
    assert len(BOMBS["scans"]) < 100_000
    matches(
        BOMBS["scans"],
        r"the JPEG image has 3,006 scans, at most 64 are accepted: save it anew as a baseline JPEG "
        "or as PNG",
    )
    assert decode_image(scan_bomb(20)).shape == (2000, 2000)


_MEASURE = """
import resource, sys
from thyroid_pipeline.decode import decode_image
from thyroid_pipeline.errors import ImageError

def refuse(path):
    with open(path, "rb") as file:
        data = file.read()
    try:
        decode_image(data)
    except ImageError:
        return
    raise SystemExit(f"{path} decodes")

refuse(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    refuse(path)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_no_bomb_takes_memory_outside_python_either(tmp_path: Path) -> None:
    paths = []
    for name, data in BOMBS.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    run = subprocess.run(
        [sys.executable, "-c", _MEASURE, *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 32 * 1024  # KiB
