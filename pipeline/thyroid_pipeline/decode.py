"""Encoded bytes to a grey picture, with every limit checked before a pixel is decoded.

Needs Pillow and numpy only: the client reads images with the same function as the server.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    TILELENGTH,
    TILEWIDTH,
    TiffImageFile,
)

from thyroid_pipeline import contract
from thyroid_pipeline.errors import ImageError

# Pillow's names of the pixel formats that hold an ultrasound picture, 16-bit grey apart.
_EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"}
_SIXTEEN_BIT_MODES = {"I;16", "I;16B"}
# A progressive JPEG paints the whole picture once per scan; ten are usual. A file of 100 kB can
# hold thousands, each of which costs as much as a plain JPEG of that size.
_SCAN_MARKER = b"\xff\xda"
_MAX_SCANS = 64
# What each EXIF orientation but the upright 1 takes to become upright.
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(data: bytes) -> npt.NDArray[np.uint8]:
    """Decode one encoded image to grey.

    Colour becomes luma (ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B), transparency (an alpha channel
    or a palette's) becomes black, the EXIF orientation is applied. 16 bit becomes 8 bit by the full
    range, 65535 to 255: the scale is fixed, never the image's own maximum, so that one bright pixel
    does not dim the tissue.

    Args:
        data: The file's bytes: PNG, JPEG, BMP, TIFF or WebP, see `contract.IMAGE_FORMATS`.

    Returns:
        UINT8 [height, width], 0 to 255, upright.

    Raises:
        ImageError: The bytes are no such image, are damaged, or break a limit of the contract.
    """
    _check_byte_count(data)
    # Pillow warns of large images and odd metadata; the checks here answer both with errors.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _open(data) as image:
            _check_header(image)
            _check_cost(image, data)
            try:
                image.load()
                return _to_grey(_upright(image))
            # A damaged file makes Pillow's plugins raise nearly anything, struct.error and
            # KeyError included; whatever it is, the file is at fault and one request fails.
            except Exception as error:
                raise ImageError(
                    f"the {image.format} image is damaged or truncated ({_reason(error)}) after a "
                    f"valid header of {image.width} x {image.height} pixels: send the whole file"
                ) from error


def _reason(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0][:120] or type(error).__name__


def _check_byte_count(data: bytes) -> None:
    if not data:
        raise ImageError(
            "the image is empty (0 bytes): send the bytes of one encoded image "
            f"({', '.join(contract.IMAGE_FORMATS)})"
        )
    if len(data) > contract.MAX_IMAGE_BYTES:
        raise ImageError(
            f"the image has {len(data):,} bytes, at most {contract.MAX_IMAGE_BYTES:,} are "
            "accepted: send a compressed format such as PNG or JPEG, or scale the image down"
        )


def _open(data: bytes) -> Image.Image:
    accepted = ", ".join(contract.IMAGE_FORMATS)
    try:
        return Image.open(io.BytesIO(data), formats=contract.IMAGE_FORMATS)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{len(data):,} bytes starting with {data[:8].hex(' ')} are not an image of an "
            f"accepted format: send {accepted}"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"the image's header announces far more than {contract.MAX_IMAGE_PIXELS:,} pixels, "
            "the largest accepted: scale the image down"
        ) from error
    except Exception as error:  # as in decode_image: a damaged header raises nearly anything
        raise ImageError(
            f"the image's header cannot be read ({_reason(error)}): send a whole, freshly saved "
            f"file of {accepted}"
        ) from error


def _check_header(image: Image.Image) -> None:
    width, height = image.size
    size = f"the {image.format} image is {width} x {height} pixels"
    if width * height > contract.MAX_IMAGE_PIXELS:
        raise ImageError(
            f"{size}, {width * height:,} in all; at most {contract.MAX_IMAGE_PIXELS:,} are "
            "accepted: scale the image down"
        )
    if min(width, height) < contract.MIN_IMAGE_SIDE_PX:
        raise ImageError(
            f"{size}; each side must have at least {contract.MIN_IMAGE_SIDE_PX}: send the "
            "ultrasound frame itself, not a thumbnail"
        )
    if max(width, height) > contract.MAX_IMAGE_ASPECT * min(width, height):
        raise ImageError(
            f"{size}; the longer side may be at most {contract.MAX_IMAGE_ASPECT:g} times the "
            "shorter: send a single frame, not a strip"
        )
    # Asked like this, since counting the frames of a TIFF reads all of it and may fail.
    if getattr(image, "is_animated", False):
        raise ImageError(
            f"the {image.format} image holds several frames, one was wanted: choose a frame and "
            "send it alone"
        )
    if image.mode not in _EIGHT_BIT_MODES | _SIXTEEN_BIT_MODES:
        raise ImageError(
            f"the {image.format} image has pixels of type {image.mode}; 8 or 16 bit grey, RGB, "
            "RGBA or palette is accepted: convert it before sending"
        )
    if isinstance(image, TiffImageFile) and image.mode in _SIXTEEN_BIT_MODES:
        # Pillow reads both as plain 16 bit: nearly black the one, inverted the other.
        bits = image.tag_v2[BITSPERSAMPLE][0]
        if bits != 16:
            raise ImageError(
                f"the TIFF image has {bits} bits per sample; 8 or 16 were wanted: convert it "
                "before sending"
            )
        if image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0:
            raise ImageError(
                "the 16-bit TIFF image counts from white (0) to black; black as 0 was wanted "
                "(PhotometricInterpretation 1): convert it before sending"
            )


def _check_cost(image: Image.Image, data: bytes) -> None:
    """Refuse a file whose decoding costs far more than its pixels do."""
    scans = data.count(_SCAN_MARKER) if image.format == "JPEG" else 1
    if scans > _MAX_SCANS:
        raise ImageError(
            f"the JPEG image has {scans:,} scans, at most {_MAX_SCANS} are accepted: save it anew "
            "as a baseline JPEG or as PNG"
        )
    if not isinstance(image, TiffImageFile):
        return
    width, length = image.tag_v2.get(TILEWIDTH, 1), image.tag_v2.get(TILELENGTH, 1)
    # A tile is decoded whole, however little of it the picture shows.
    whole = isinstance(width, int) and isinstance(length, int)
    if not whole or width * length > contract.MAX_IMAGE_PIXELS:
        raise ImageError(
            f"the TIFF image is stored in tiles of {width} x {length} pixels, at most "
            f"{contract.MAX_IMAGE_PIXELS:,} in all are accepted: save it anew without tiles"
        )


def _upright(image: Image.Image) -> Image.Image:
    # Not ImageOps.exif_transpose: it also writes the EXIF data anew, which fails on odd entries.
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF data name no orientation; the pixels are whole all the same
        return image
    return image.transpose(_TO_UPRIGHT[orientation]) if orientation in _TO_UPRIGHT else image


def _to_grey(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode in _SIXTEEN_BIT_MODES:
        sixteen = np.asarray(image).astype(np.uint32)
        return ((sixteen + 128) // 257).astype(np.uint8)
    if image.mode in {"LA", "PA", "RGBA"} or "transparency" in image.info:
        alpha = image.convert("RGBA")
        black = Image.new("RGBA", alpha.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, alpha).convert("RGB")
    elif image.mode == "P":
        image = image.convert("RGB")  # straight to grey would round the palette's entries twice
    return np.asarray(image.convert("L"))
