"""What decodes, and to what: formats, depths, colour, transparency, orientation, scale."""

from __future__ import annotations

import io
import struct
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from image_bytes import grey_tiff, png, png_chunk
from pictures import encode
from thyroid_pipeline import contract
from thyroid_pipeline.decode import decode_image

HEIGHT, WIDTH = 70, 90
SIDE_LIMIT = contract.MIN_IMAGE_SIDE_PX
LUMA = np.array([0.299, 0.587, 0.114])

random = np.random.default_rng(20)
GREY: NDArray[np.uint8] = random.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
RGB: NDArray[np.uint8] = random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
GREY_16: NDArray[np.uint16] = random.integers(0, 65536, (HEIGHT, WIDTH), np.uint16)
RGB_16: NDArray[np.uint16] = random.integers(0, 65536, (HEIGHT, WIDTH, 3), np.uint16)


def differs_by(decoded: NDArray[np.uint8], wanted: NDArray[np.number[Any]]) -> float:
    assert decoded.shape == wanted.shape
    assert decoded.dtype == np.uint8
    return float(np.abs(decoded.astype(np.float64) - wanted.astype(np.float64)).max())


def by_opencv(suffix: str, pixels: NDArray[np.uint8 | np.uint16]) -> bytes:
    """Encode by OpenCV, whose colour order is BGR."""
    return cv2.imencode(suffix, pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()


# --- formats


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_keep_every_pixel(image_format: str) -> None:
    assert differs_by(decode_image(encode(Image.fromarray(GREY), image_format)), GREY) == 0


def test_lossless_webp_keeps_every_pixel() -> None:
    data = encode(Image.fromarray(GREY), "WEBP", lossless=True)
    assert differs_by(decode_image(data), GREY) == 0


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp"])
def test_files_of_another_library_decode(suffix: str) -> None:
    wanted = cv2.imdecode(np.frombuffer(by_opencv(suffix, RGB), np.uint8), cv2.IMREAD_COLOR)
    luma = wanted[..., ::-1] @ LUMA
    assert differs_by(decode_image(by_opencv(suffix, RGB)), luma) <= 0.51


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_what_opencv_reads(progressive: bool) -> None:
    smooth = cv2.GaussianBlur(GREY, (0, 0), 4)
    data = encode(Image.fromarray(smooth), "JPEG", quality=80, progressive=progressive)
    wanted = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert differs_by(decode_image(data), wanted) <= 1


@pytest.mark.parametrize(
    "compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd"]
)
def test_compressed_tiff_keeps_every_pixel(compression: str) -> None:
    data = encode(Image.fromarray(GREY), "TIFF", compression=compression)
    assert differs_by(decode_image(data), GREY) == 0


# --- colour, palette, transparency


def test_colour_becomes_luma() -> None:
    pixels = random.integers(0, 256, (512, 512, 3), np.uint8)
    assert differs_by(decode_image(png(pixels)), pixels @ LUMA) <= 0.51


def test_grey_stored_as_colour_stays_what_it_was() -> None:
    assert differs_by(decode_image(png(np.stack([GREY] * 3, -1))), GREY) == 0


def test_transparency_becomes_black() -> None:
    pixels = random.integers(0, 256, (512, 512, 4), np.uint8)
    wanted = (pixels[..., :3] @ LUMA) * (pixels[..., 3] / 255)
    assert differs_by(decode_image(png(pixels)), wanted) <= 1.2


def test_grey_with_alpha() -> None:
    alpha = np.tile(np.array([0, 255], np.uint8), (HEIGHT, WIDTH // 2))
    decoded = decode_image(png(np.stack([GREY, alpha], -1)))
    assert differs_by(decoded, np.where(alpha == 255, GREY, 0)) == 0


def test_palette_is_looked_up() -> None:
    colours = random.integers(0, 256, (256, 3), np.uint8)
    image = Image.fromarray(GREY, "P")
    image.putpalette(colours.tobytes())
    for image_format in ("PNG", "BMP", "TIFF"):
        decoded = decode_image(encode(image, image_format))
        assert differs_by(decoded, colours[GREY] @ LUMA) <= 0.51


def test_transparent_entries_of_a_palette_become_black() -> None:
    image = Image.fromarray(GREY, "P")
    image.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
    alpha = bytes(0 if entry >= 128 else 255 for entry in range(256))
    decoded = decode_image(encode(image, "PNG", transparency=alpha))
    assert differs_by(decoded, np.where(GREY >= 128, 0, GREY)) == 0


def test_a_transparent_colour_becomes_black() -> None:
    decoded = decode_image(encode(Image.fromarray(GREY), "PNG", transparency=int(GREY[0, 0])))
    assert differs_by(decoded, np.where(GREY[0, 0] == GREY, 0, GREY)) == 0


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "BMP"])
def test_one_bit_becomes_black_and_white(image_format: str) -> None:
    decoded = decode_image(encode(Image.fromarray(GREY > 99), image_format))
    assert differs_by(decoded, np.where(GREY > 99, 255, 0)) == 0


def test_a_colour_profile_changes_nothing() -> None:
    gamma = png_chunk(b"gAMA", struct.pack(">I", 100_000))
    assert differs_by(decode_image(png(GREY, before=gamma)), GREY) == 0


# --- 16 bit


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(GREY_16), id="PNG by hand"),
        pytest.param(by_opencv(".png", GREY_16), id="PNG by OpenCV"),
        pytest.param(by_opencv(".tiff", GREY_16), id="TIFF by OpenCV"),
        pytest.param(grey_tiff(GREY_16), id="TIFF, Intel order"),
        pytest.param(grey_tiff(GREY_16, order=">"), id="TIFF, Motorola order"),
        pytest.param(encode(Image.fromarray(GREY_16), "TIFF"), id="TIFF by Pillow"),
    ],
)
def test_16_bit_grey_is_scaled_by_its_full_range(data: bytes) -> None:
    assert differs_by(decode_image(data), np.rint(GREY_16 / 257)) == 0


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(RGB_16), id="PNG by hand"),
        pytest.param(by_opencv(".png", RGB_16), id="PNG by OpenCV"),
        pytest.param(by_opencv(".tiff", RGB_16), id="TIFF by OpenCV"),
    ],
)
def test_16_bit_colour_becomes_luma_within_a_grey_value(data: bytes) -> None:
    assert differs_by(decode_image(data), RGB_16 @ LUMA / 257) <= 1.51


def test_16_bit_alpha() -> None:
    alpha = np.where(GREY > 99, np.uint16(65535), np.uint16(0))
    wanted = np.where(GREY > 99, GREY_16 / 257, 0)
    assert differs_by(decode_image(png(np.stack([GREY_16, alpha], -1))), wanted) <= 1
    rgba = np.concatenate([RGB_16, alpha[..., None]], -1)
    wanted = np.where(GREY > 99, RGB_16 @ LUMA / 257, 0)
    assert differs_by(decode_image(png(rgba)), wanted) <= 1.51


@pytest.mark.parametrize("pixels", [GREY // 4, GREY_16 // 4, RGB // 4, RGB_16 // 4])
def test_a_bright_pixel_dims_no_other(pixels: NDArray[np.uint8 | np.uint16]) -> None:
    brighter = pixels.copy()
    brighter[40, 50] = np.iinfo(pixels.dtype).max
    before, after = decode_image(png(pixels)), decode_image(png(brighter))
    assert after[40, 50] == 255
    assert np.argwhere(before != after).tolist() == [[40, 50]]


# --- orientation

# The visual side of the stored picture's first row and first column (EXIF 2.32, tag 274).
ORIENTATIONS = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def upright(stored: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn a stored picture upright, straight from the standard's table."""
    row_side, column_side = ORIENTATIONS[orientation]
    rows, columns = np.indices(stored.shape)
    along = rows if row_side in ("top", "left") else stored.shape[0] - 1 - rows
    across = columns if column_side in ("top", "left") else stored.shape[1] - 1 - columns
    y, x = (along, across) if row_side in ("top", "bottom") else (across, along)
    turned = np.empty((y.max() + 1, x.max() + 1), np.uint8)
    turned[y, x] = stored
    return turned


def exif(entries: list[tuple[int, int, int, bytes]]) -> bytes:
    """EXIF data of tag, type, count and four bytes of value."""
    body = b"".join(
        struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
        for tag, kind, count, value in entries
    )
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_orientation_is_applied_once(image_format: str, orientation: int) -> None:
    tags = Image.Exif()
    tags[274] = orientation
    options = {"lossless": True} if image_format == "WEBP" else {}
    data = encode(Image.fromarray(GREY), image_format, exif=tags.tobytes(), **options)
    assert differs_by(decode_image(data), upright(GREY, orientation)) == 0


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_orientation_of_a_jpeg_is_what_opencv_makes_of_it(orientation: int) -> None:
    tags = exif([(274, 3, 1, struct.pack("<H", orientation))])
    data = encode(Image.fromarray(cv2.GaussianBlur(GREY, (0, 0), 4)), "JPEG", exif=tags)
    wanted = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert differs_by(decode_image(data), wanted) <= 1


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_orientation_of_a_compressed_16_bit_tiff(orientation: int) -> None:
    pixels = grey_tiff(GREY_16, more_tags=[(274, orientation)])
    wanted = upright(np.rint(GREY_16 / 257).astype(np.uint8), orientation)
    assert differs_by(decode_image(pixels), wanted) == 0
    with Image.open(io.BytesIO(pixels)) as image:
        image.load()
        packed = encode(image, "TIFF", compression="tiff_lzw")
    assert differs_by(decode_image(packed), wanted) == 0


SIX = (274, 3, 1, b"\x06\0")


@pytest.mark.parametrize(
    "odd_entries",
    [
        pytest.param([SIX, (282, 2, 4, b"72\0\0")], id="a resolution in words"),
        pytest.param([SIX, (271, 3, 1, b"\x07\0")], id="a maker's name in numbers"),
        pytest.param([SIX, (34665, 4, 1, b"\xff\xff\0\0")], id="a directory beyond the end"),
        pytest.param([SIX, (271, 2, 99, b"\xff\xff\0\0")], id="a name beyond the end"),
    ],
)
def test_odd_exif_entries_neither_hinder_nor_hide_the_orientation(
    odd_entries: list[tuple[int, int, int, bytes]],
) -> None:
    data = encode(Image.fromarray(GREY), "PNG", exif=exif(odd_entries))
    assert differs_by(decode_image(data), upright(GREY, 6)) == 0


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param(b"Exif\0\0", id="empty"),
        pytest.param(b"Exif\0\0nonsense", id="nonsense"),
        pytest.param(exif([SIX])[:-12], id="cut short"),
        pytest.param(exif([(274, 3, 1, b"\x09\0")]), id="a ninth orientation"),
        pytest.param(exif([(274, 2, 4, b"six\0")]), id="orientation in words"),
    ],
)
def test_a_picture_of_unreadable_orientation_is_taken_as_it_is_stored(tags: bytes) -> None:
    data = encode(Image.fromarray(GREY), "PNG", exif=tags)
    assert differs_by(decode_image(data), GREY) == 0


# --- limits, from within


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (SIDE_LIMIT, SIDE_LIMIT),
        (SIDE_LIMIT, round(SIDE_LIMIT * contract.MAX_IMAGE_ASPECT)),
        (contract.MAX_IMAGE_PIXELS // 4000, 4000),
    ],
)
def test_a_picture_at_a_limit_is_accepted(height: int, width: int) -> None:
    decoded = decode_image(encode(Image.new("L", (width, height), 7), compress_level=1))
    assert decoded.shape == (height, width)
    assert (decoded == 7).all()
