"""Every bad picture is refused by a message that says what came, what was wanted, how to mend."""

from __future__ import annotations

import io
import re
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from image_bytes import grey_tiff, png, png_chunk, tiff
from pictures import encode, png_header
from thyroid_pipeline import contract
from thyroid_pipeline.decode import decode_image
from thyroid_pipeline.errors import ImageError

random = np.random.default_rng(21)
GREY = random.integers(0, 256, (70, 90), np.uint8)
PICTURE = Image.fromarray(GREY)
FORMATS = re.escape("PNG, JPEG, BMP, TIFF, WEBP")
LIMIT = f"{contract.MAX_IMAGE_PIXELS:,}"
MIB = 1024**2


def refusal(data: bytes) -> str:
    """The message; it must be one printable line that may go to a client and to a log."""
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    message = str(caught.value)
    assert message.isprintable()
    assert message.isascii()
    assert len(message) < 400
    assert not re.search(r"0x[0-9a-f]{6}|/|Traceback|<", message)
    return message


def matches(data: bytes, pattern: str) -> None:
    message = refusal(data)
    assert re.search(pattern, message), message


# --- no image at all


def test_empty_bytes() -> None:
    matches(b"", rf"is empty \(0 bytes\): send the bytes of one encoded image \({FORMATS}\)")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"a report, not a picture", id="text"),
        pytest.param(random.bytes(5000), id="noise"),
        pytest.param(bytes(5000), id="zero-filled"),
        pytest.param(b"\xff" * 5000, id="one-filled"),
        pytest.param(b"\x89PNG", id="four bytes of PNG"),
        pytest.param(b"%PDF-1.7\n" + bytes(500), id="PDF"),
        pytest.param(bytes(128) + b"DICM" + bytes(500), id="DICOM"),
        pytest.param(encode(PICTURE, "GIF"), id="GIF"),
        pytest.param(encode(PICTURE, "PPM"), id="PPM"),
        pytest.param(encode(PICTURE, "ICO"), id="ICO"),
        pytest.param(encode(PICTURE, "JPEG2000"), id="JPEG 2000"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="SVG"),
    ],
)
def test_other_data(data: bytes) -> None:
    matches(
        data,
        rf"{len(data):,} bytes starting with {data[:8].hex(' ')} are not an image of an accepted "
        rf"format: send {FORMATS}",
    )


def test_too_many_bytes_are_counted_not_read() -> None:
    tracemalloc.start()
    data = b"\x89PNG\r\n\x1a\n" + bytes(contract.MAX_IMAGE_BYTES)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    matches(
        data,
        r"has 33,554,440 bytes, at most 33,554,432 are accepted: send a compressed format .* or "
        r"scale the image down",
    )
    assert tracemalloc.get_traced_memory()[1] - before < MIB
    tracemalloc.stop()


# --- cut off, damaged

WHOLE = {
    "PNG": encode(PICTURE),
    "JPEG": encode(PICTURE, "JPEG"),
    "BMP": encode(PICTURE, "BMP"),
    "TIFF": encode(PICTURE, "TIFF"),
    "WEBP": encode(PICTURE, "WEBP"),
    "LZW TIFF": encode(PICTURE, "TIFF", compression="tiff_lzw"),
    "progressive JPEG": encode(PICTURE, "JPEG", progressive=True),
    "16-bit PNG": encode(Image.fromarray(GREY.astype(np.uint16) * 257)),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_truncated(name: str, share: float) -> None:
    data = WHOLE[name]
    decode_image(data)
    message = refusal(data[: int(share * len(data))])
    # A TIFF's directory may stand behind its pixels, a WebP is checked whole before it is opened.
    assert re.search(rf"send the whole file$|{FORMATS}$", message), message
    kind = name.rpartition(" ")[2]
    if kind in ("PNG", "JPEG", "BMP") and share > 0.5:
        assert f"the {kind} image is damaged or truncated" in message
        assert "after a valid header of 90 x 70 pixels" in message


def test_pixels_missing_altogether() -> None:
    matches(png_header(90, 70), r"PNG image is damaged or truncated \(.+\) after a valid header")


def test_a_header_and_nothing_else() -> None:
    data = WHOLE["PNG"]
    refusal(data[: data.index(b"IDAT") - 4])


def test_a_broken_checksum() -> None:
    data = bytearray(WHOLE["PNG"])
    data[data.index(b"IDAT") + 50] ^= 0x55
    matches(bytes(data), "PNG image is damaged or truncated")


def test_a_tiff_without_its_size() -> None:
    refusal(grey_tiff(GREY).replace(b"\0\1\4\0", b"\0\x63\4\0", 1))
    refusal(tiff({258: 8, 259: 1, 262: 1}, b""))


def test_text_of_the_file_stays_out_of_the_message() -> None:
    name = png_chunk(b"tEXt", b"Name\0Jane Doe")
    for data in (WHOLE["PNG"][:60] + b"Jane Doe" * 9, png(GREY, before=name)[:-40]):
        assert "Jane" not in refusal(data)


# --- sizes


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (1, 5000), (5000, 1), (63, 200), (200, 63), (0, 90)]
)
def test_too_small(width: int, height: int) -> None:
    message = refusal(png_header(width, height))
    if width:
        assert f"the PNG image is {width} x {height} pixels; each side must have at least 64: " in (
            message
        )
        assert message.endswith("send the ultrasound frame itself, not a thumbnail")


@pytest.mark.parametrize(("width", "height"), [(64, 385), (2400, 100)])
def test_too_long(width: int, height: int) -> None:
    matches(
        png_header(width, height),
        f"the PNG image is {width} x {height} pixels; the longer side may be at most 6 times the "
        "shorter: send a single frame, not a strip",
    )


@pytest.mark.parametrize(("width", "height"), [(4001, 4000), (10_000, 10_000), (12_000, 12_000)])
def test_too_many_pixels(width: int, height: int) -> None:
    matches(
        png_header(width, height),
        rf"{width} x {height} pixels, {width * height:,} in all; at most {LIMIT} are accepted: "
        "scale the image down",
    )


# --- kinds of pixels


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        pytest.param(encode(PICTURE.convert("CMYK"), "JPEG"), "CMYK", id="CMYK JPEG"),
        pytest.param(encode(PICTURE.convert("CMYK"), "TIFF"), "CMYK", id="CMYK TIFF"),
        pytest.param(encode(PICTURE.convert("F"), "TIFF"), "F", id="float TIFF"),
        pytest.param(encode(PICTURE.convert("I"), "TIFF"), "I", id="32-bit TIFF"),
        pytest.param(encode(PICTURE.convert("RGB").convert("LAB"), "TIFF"), "LAB", id="Lab TIFF"),
    ],
)
def test_other_pixels(data: bytes, kind: str) -> None:
    matches(
        data,
        f"has pixels of type {kind}; 8 or 16 bit grey, RGB, RGBA or palette is accepted: convert "
        "it before sending",
    )


def test_12_bit_tiff_would_be_nearly_black() -> None:
    data = grey_tiff(random.integers(0, 256, (70, 135), np.uint8), bits=12, more_tags=[(256, 90)])
    matches(data, "TIFF image has 12 bits per sample; 8 or 16 were wanted: convert it")


def test_inverted_tiff_is_turned_or_refused_never_taken_as_it_is() -> None:
    inverted = decode_image(grey_tiff(GREY, white_is_zero=True))
    assert np.array_equal(inverted, 255 - GREY)
    matches(
        grey_tiff(GREY.astype(np.uint16), white_is_zero=True),
        r"16-bit TIFF image counts from white \(0\) to black; black as 0 was wanted",
    )


# --- several frames


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP"])
def test_several_frames(image_format: str) -> None:
    frames = [Image.fromarray(255 - GREY), Image.fromarray(GREY // 2)]
    data = encode(PICTURE, image_format, save_all=True, append_images=frames)
    matches(
        data,
        f"{image_format} image holds several frames, one was wanted: choose a frame and send it "
        "alone",
    )


def test_two_pictures_in_one_jpeg_file() -> None:
    buffer = io.BytesIO()
    PICTURE.convert("RGB").save(
        buffer, "MPO", save_all=True, append_images=[PICTURE.convert("RGB")]
    )
    matches(buffer.getvalue(), "image holds several frames, one was wanted")


def test_a_tiff_that_points_behind_its_end_for_a_second_page() -> None:
    data = bytearray(grey_tiff(GREY))
    after = 8 + 2 + 12 * 9
    data[after : after + 4] = (10**9).to_bytes(4, "little")
    matches(bytes(data), "TIFF image holds several frames, one was wanted")
