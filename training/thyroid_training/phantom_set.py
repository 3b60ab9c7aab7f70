"""A folder of phantoms in many formats and sizes, with their truth beside them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from thyroid_training.phantoms import make_phantom, sample_traits


@dataclass(frozen=True)
class _Format:
    suffix: str
    sixteen_bit: bool = False
    colour: bool = False


_PNG, _JPEG = _Format(".png"), _Format(".jpg")
# The first files show every format once; after them comes what exports mostly are.
_SHOWN_ONCE = (
    _PNG,
    _JPEG,
    _Format(".png", sixteen_bit=True),
    _Format(".png", colour=True),
    _Format(".bmp"),
    _Format(".webp"),
    _Format(".tiff"),
)
_AFTERWARDS = (_PNG, _PNG, _JPEG, _PNG)
# Height and width in pixels: usual exports, a portrait one, a square one, a thumbnail.
_SIZES_PX = (
    (360, 560),
    (600, 800),
    (768, 1024),
    (480, 640),
    (900, 520),
    (1080, 1440),
    (400, 400),
    (240, 320),
)
# Text such as exports carry below the sector. It is drawn blindly: it says nothing true about the
# nodule, and a screening that reads it has failed.
_TEXTS = (None, "TIRADS 4B", None, "TIRADS 2", "DEMO PHANTOM", None)


def _encode(grey: NDArray[np.uint8], form: _Format) -> bytes:
    """Encodes UINT8 [height, width] as a file of a format."""
    pixels: NDArray[np.uint8] | NDArray[np.uint16] = grey
    if form.sixteen_bit:
        pixels = grey.astype(np.uint16) * np.uint16(257)
    elif form.colour:
        pixels = np.repeat(grey[..., None], 3, axis=2)
    written, data = cv2.imencode(form.suffix, pixels)
    if not written:
        raise RuntimeError(
            f"OpenCV could not encode a {form.suffix} image, wanted a file of that format: install "
            "a build of opencv-python-headless that has it"
        )
    return data.tobytes()


def write_phantom_set(folder: Path, count: int, seed: int, no_nodule: int) -> list[Path]:
    """Writes a demonstration set.

    The images are `folder/images/phantom_00.png`, `folder/images/phantom_01.jpg` and so on: 8-bit
    grey PNG, JPEG, 16-bit PNG, RGB PNG, BMP, WebP, TIFF, then mostly PNG, in sizes from 240 to
    1440 px per side. Their truth lies apart, so that no one screens it:
    `folder/truth/phantom_00.png` and so on (0 outside, 255 inside the nodule) and
    `folder/truth/traits.json`, which maps each image's file name to its seed, sector box
    (x, y, width, height in pixels) and traits. Files of the same names are overwritten.

    Args:
        folder: Where to write; made where missing.
        count: How many images, 1 or more.
        seed: Fixes every byte; at least 0.
        no_nodule: How many of them show no nodule, 0 to `count`, spread evenly over the set.

    Returns:
        The images' paths, in order.

    Raises:
        ValueError: `count`, `seed` or `no_nodule` is out of range.
        OSError: The folder cannot be written.
    """
    if count < 1:
        raise ValueError(f"`count` is {count}, wanted 1 or more: ask for at least one image")
    if not 0 <= no_nodule <= count:
        raise ValueError(
            f"`no_nodule` is {no_nodule}, wanted 0 to {count} (`count`): ask for no more frames "
            "without a nodule than frames"
        )
    if seed < 0:
        raise ValueError(f"`seed` is {seed}, wanted 0 or more: pass its absolute value")
    images, truth = folder / "images", folder / "truth"
    for part in (images, truth):
        part.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    without = {int((order + 0.5) * count / no_nodule) for order in range(no_nodule)}
    paths = []
    records: dict[str, dict[str, object]] = {}
    for number in range(count):
        later = number - len(_SHOWN_ONCE)
        form = _SHOWN_ONCE[number] if later < 0 else _AFTERWARDS[later % len(_AFTERWARDS)]
        height_px, width_px = _SIZES_PX[number % len(_SIZES_PX)]
        phantom = make_phantom(
            int(rng.integers(2**31)),
            sample_traits(rng, nodule_share=0.0 if number in without else 1.0),
            height_px=height_px,
            width_px=width_px,
            text=_TEXTS[number % len(_TEXTS)],
        )
        stem = f"phantom_{number:02d}"
        path = images / f"{stem}{form.suffix}"
        path.write_bytes(_encode(phantom.image, form))
        mask = phantom.mask.astype(np.uint8) * np.uint8(255)
        (truth / f"{stem}.png").write_bytes(_encode(mask, _PNG))
        records[path.name] = {
            "seed": phantom.seed,
            "sector_box": list(phantom.sector_box),
            **dataclasses.asdict(phantom.traits),
        }
        paths.append(path)
    text = json.dumps(records, indent=2) + "\n"
    (truth / "traits.json").write_text(text, encoding="utf-8")
    return paths
