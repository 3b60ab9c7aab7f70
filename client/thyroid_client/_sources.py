"""From what a caller calls an image to the bytes that are sent."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from thyroid_client.errors import ImageUnreadable
from thyroid_pipeline import contract

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | npt.NDArray[np.uint8] | npt.NDArray[np.uint16]"  # noqa: E501


def encoded_image(source: ImageSource) -> bytes:
    """Turn an image into the bytes of one encoded file.

    A file's bytes are sent as they are: the server decodes them, by the rules it was trained with.

    Args:
        source: The path of a file (str or path); the bytes of one; or an array, UINT8 [height,
            width] or [height, width, 3], or UINT16 [height, width], which is sent as PNG.

    Raises:
        ImageUnreadable: The file cannot be read, is empty or larger than
            `contract.MAX_IMAGE_BYTES`, or the array is of no such type or shape.
    """
    if isinstance(source, (str, os.PathLike)):
        return _read_file(Path(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _checked(bytes(source), f"{len(source):,} bytes")
    if isinstance(source, np.ndarray):
        return _checked(_encode_array(source), f"an array of shape {list(source.shape)}")
    raise ImageUnreadable(
        f"{type(source).__name__} is no image: give a path, the bytes of an encoded file or a "
        "numpy array"
    )


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # One byte above the limit tells that there is more, however much more that is.
            content = file.read(contract.MAX_IMAGE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageUnreadable(
            f"{path} cannot be read ({reason}): give the path of a readable image file"
        ) from error
    return _checked(content, str(path))


def _checked(content: bytes, name: str) -> bytes:
    if not content:
        raise ImageUnreadable(
            f"the image is empty (0 bytes; {name}): give a whole file of one of "
            f"{', '.join(contract.IMAGE_FORMATS)}"
        )
    if len(content) > contract.MAX_IMAGE_BYTES:
        raise ImageUnreadable(
            f"the image ({name}) has more than {contract.MAX_IMAGE_BYTES:,} bytes, the most that "
            "is accepted: use a compressed format such as PNG or JPEG, or scale it down"
        )
    return content


def _encode_array(array: npt.NDArray[np.generic]) -> bytes:
    came = f"an array of {array.dtype.name.upper()} {list(array.shape)} came"
    data_type = array.dtype.newbyteorder("=")
    if data_type not in (np.uint8, np.uint16):
        raise ImageUnreadable(
            f"{came}; UINT8 or UINT16 was wanted: scale by a fixed range, for values from 0 to 1 "
            "`(array * 255).round().astype(np.uint8)`, never by the image's own maximum"
        )
    if 0 in array.shape or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ImageUnreadable(
            f"{came}; [height, width] or [height, width, 3] was wanted: send one image at a time "
            "and put the colour axis last"
        )
    if data_type == np.uint16 and array.ndim == 3:
        raise ImageUnreadable(
            f"{came}; colour of 16 bits has no common file format: send one channel, "
            "`array[:, :, 0]`, which is all that an ultrasound image has, or UINT8"
        )
    buffer = io.BytesIO()
    native = np.ascontiguousarray(array, data_type)
    # Level 1: speckle hardly compresses, higher levels only take time.
    Image.fromarray(native).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
