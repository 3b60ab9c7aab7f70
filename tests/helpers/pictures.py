"""Encoded pictures for tests: good ones from phantoms, and bad ones made on purpose."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from image_bytes import png_chunk
from thyroid_training.phantoms import PhantomTraits, make_phantom


def encode(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def phantom_png(
    seed: int,
    traits: PhantomTraits | None = None,
    *,
    height_px: int = 360,
    width_px: int = 560,
    text: str | None = None,
) -> bytes:
    phantom = make_phantom(seed, traits, height_px=height_px, width_px=width_px, text=text)
    return encode(Image.fromarray(phantom.image))


def phantom_image(seed: int) -> Image.Image:
    return Image.fromarray(make_phantom(seed).image)


def png_header(width_px: int, height_px: int) -> bytes:
    """A PNG that announces a size and holds next to nothing."""

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + png_chunk(b"IEND", b"")
    )


def rejected_pictures() -> dict[str, tuple[bytes, str]]:
    """Pictures that cannot be screened, by name, with a part of the message that each earns."""
    phantom = phantom_image(0)
    png, jpeg = encode(phantom), encode(phantom, "JPEG")
    black, white = (Image.new("L", (200, 200), value) for value in (0, 255))
    frames = [phantom, phantom_image(1)]
    return {
        "empty": (b"", "empty (0 bytes)"),
        "text": (b"this is no image", "are not an image of an accepted format"),
        "truncated PNG": (png[: len(png) // 2], "damaged or truncated"),
        "truncated JPEG": (jpeg[: len(jpeg) // 2], "damaged or truncated"),
        "1x1": (encode(Image.new("L", (1, 1))), "1 x 1 pixels; each side must have at least"),
        "1x5000": (encode(Image.new("L", (1, 5000))), "1 x 5000 pixels; each side must have"),
        "strip": (encode(Image.new("L", (100, 5000))), "at most 6 times the shorter"),
        "50,000x50,000": (png_header(50_000, 50_000), "pixels, the largest accepted"),
        "10,000x10,000": (png_header(10_000, 10_000), "at most 16,000,000 are accepted"),
        "CMYK JPEG": (encode(phantom.convert("CMYK"), "JPEG"), "pixels of type CMYK"),
        "animated": (
            encode(phantom, "WEBP", save_all=True, append_images=frames),
            "frames, one was wanted",
        ),
        "GIF": (encode(phantom, "GIF"), "are not an image of an accepted format"),
        "zero-filled": (b"\0" * 4096, "are not an image of an accepted format"),
        "black": (encode(black), "every pixel of the image is 0"),
        "white": (encode(white), "every pixel of the image is 255"),
    }


def accepted_pictures() -> dict[str, bytes]:
    """One phantom in every way of encoding that is accepted, by name."""
    phantom = phantom_image(1)
    grey = np.asarray(phantom)
    return {
        "PNG": encode(phantom),
        "JPEG": encode(phantom, "JPEG", quality=95),
        "BMP": encode(phantom, "BMP"),
        "TIFF": encode(phantom, "TIFF"),
        "WebP": encode(phantom, "WEBP", lossless=True),
        "16 bit": encode(Image.fromarray(grey.astype(np.uint16) * 257)),
        "RGB": encode(phantom.convert("RGB")),
        "RGBA": encode(phantom.convert("RGBA")),
        "palette": encode(phantom.convert("P")),
    }
