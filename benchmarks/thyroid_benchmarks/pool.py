"""The images that are sent: unique phantoms in many sizes and formats, and corrupt ones.

A pool is a folder: the images, `pool.json`, which says what each is, and, once they have been
computed, the reference answers (`thyroid_benchmarks.references`). The same seed and size give the
same bytes under the same versions of numpy, OpenCV and Pillow.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from thyroid_training.phantoms import make_phantom, sample_traits

Kind = Literal["nodule", "no_nodule", "corrupt"]
KINDS: tuple[Kind, ...] = get_args(Kind)
INDEX_FILE = "pool.json"

# Height and width of usual exports, and how often each occurs.
_SIZES_PX = ((240, 320), (360, 560), (480, 640), (600, 800), (768, 1024), (1080, 1440))
_SIZE_SHARES = (0.10, 0.20, 0.25, 0.20, 0.15, 0.10)
# What exports are written as, and how often.
_FORMATS = ("PNG", "JPEG", "16-bit PNG", "RGB PNG", "BMP", "WEBP", "TIFF")
_FORMAT_SHARES = (0.40, 0.30, 0.06, 0.08, 0.06, 0.05, 0.05)
_DAMAGES = ("truncated PNG", "truncated JPEG", "no image", "black", "too small", "empty header")


@dataclass(frozen=True)
class Shares:
    """How many of the images are of which kind.

    Attributes:
        no_nodule: Share of phantoms without a nodule, 0 to 1.
        corrupt: Share of files that cannot be screened, 0 to 1; with `no_nodule` at most 1.
    """

    no_nodule: float = 0.15
    corrupt: float = 0.05

    def __post_init__(self) -> None:
        if not (self.no_nodule >= 0 and self.corrupt >= 0 and self.no_nodule + self.corrupt <= 1):
            raise ValueError(
                f"the shares are {self.no_nodule} without a nodule and {self.corrupt} corrupt; "
                "each from 0 and both together at most 1 were wanted: leave room for nodules"
            )


@dataclass(frozen=True)
class Case:
    """One file of the pool, as `pool.json` describes it.

    Attributes:
        index: Its place in the pool.
        kind: What it shows.
        form: How it is encoded, or damaged.
        height_px: Of the picture; 0 where there is none.
        width_px: Likewise.
    """

    index: int
    kind: Kind
    form: str
    height_px: int
    width_px: int

    @property
    def file_name(self) -> str:
        """Its file in the pool's folder."""
        return f"{self.index:05d}.image"


@dataclass(frozen=True)
class Pool:
    """The images in memory.

    Attributes:
        cases: What each is.
        contents: The encoded images, in the same order.
        seed: What they were made from.
    """

    cases: tuple[Case, ...]
    contents: tuple[bytes, ...]
    seed: int

    def __len__(self) -> int:
        return len(self.cases)

    def as_dict(self) -> dict[str, object]:
        """Return what a report says of it."""
        kinds = [case.kind for case in self.cases]
        sizes = [len(content) for content in self.contents]
        return {
            "images": len(self),
            "seed": self.seed,
            **{kind: kinds.count(kind) for kind in KINDS},
            "mean_bytes": round(float(np.mean(sizes))),
            "largest_bytes": max(sizes),
        }


def write_pool(folder: Path, count: int, seed: int, shares: Shares | None = None) -> None:
    """Make a pool.

    Args:
        folder: Where to; made where missing.
        count: How many images, from 1.
        seed: At least 0.
        shares: Of the kinds; by default 15% without a nodule and 5% corrupt.

    Raises:
        ValueError: `count` or `seed` is out of range.
        OSError: The folder cannot be written.
    """
    if count < 1 or seed < 0:
        raise ValueError(
            f"`count` is {count} and `seed` is {seed}; at least 1 and at least 0 were wanted: ask "
            "for one image or more, and pass the seed's absolute value"
        )
    shares = shares or Shares()
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    cases = []
    for index, kind in enumerate(_kinds(count, shares, rng)):
        case, content = _make(index, kind, rng)
        (folder / case.file_name).write_bytes(content)
        cases.append(case)
    index_text = json.dumps({"seed": seed, "cases": [asdict(case) for case in cases]}, indent=1)
    # Last: a folder without it was cut short.
    (folder / INDEX_FILE).write_text(index_text + "\n", encoding="utf-8")


def read_pool(folder: Path) -> Pool:
    """Read a pool into memory.

    Raises:
        FileNotFoundError: The folder holds none.
    """
    path = folder / INDEX_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {INDEX_FILE} in {folder}; a pool of images was wanted: make one with "
            "`prepare`"
        )
    index = json.loads(path.read_text(encoding="utf-8"))
    cases = tuple(Case(**case) for case in index["cases"])
    contents = tuple((folder / case.file_name).read_bytes() for case in cases)
    return Pool(cases, contents, index["seed"])


def order(pool: Pool, seed: int) -> Sequence[int]:
    """Shuffle the pool's indices: the order in which its images are sent, again and again."""
    return [int(index) for index in np.random.default_rng(seed).permutation(len(pool))]


def _kinds(count: int, shares: Shares, rng: np.random.Generator) -> list[Kind]:
    """Return exactly the shares, rounded, in random order."""
    corrupt, without = round(count * shares.corrupt), round(count * shares.no_nodule)
    nodules = max(0, count - corrupt - without)
    numbers = {"nodule": nodules, "no_nodule": without, "corrupt": corrupt}
    kinds = [kind for kind in KINDS for _ in range(numbers[kind])][:count]
    return [kinds[place] for place in rng.permutation(len(kinds))]


def _make(index: int, kind: Kind, rng: np.random.Generator) -> tuple[Case, bytes]:
    height, width = _SIZES_PX[int(rng.choice(len(_SIZES_PX), p=_SIZE_SHARES))]
    traits = sample_traits(rng, nodule_share=0.0 if kind == "no_nodule" else 1.0)
    seed = int(rng.integers(2**31))
    grey = make_phantom(seed, traits, height_px=height, width_px=width).image
    if kind == "corrupt":
        form = _DAMAGES[int(rng.integers(len(_DAMAGES)))]
        return Case(index, kind, form, 0, 0), _damage(grey, form, rng)
    form = _FORMATS[int(rng.choice(len(_FORMATS), p=_FORMAT_SHARES))]
    return Case(index, kind, form, height, width), encode(grey, form)


def encode(grey: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], form: str) -> bytes:
    """Encode UINT8 [height, width] in one of the pool's forms."""
    options: dict[str, object] = {}
    image = Image.fromarray(grey)
    if form == "16-bit PNG":
        image = Image.fromarray(grey.astype(np.uint16) * np.uint16(257))
    elif form == "RGB PNG":
        image = image.convert("RGB")
    elif form == "JPEG":
        options = {"quality": 95}
    elif form == "WEBP":
        options = {"lossless": True}
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if form.endswith("PNG") else form, **options)
    return buffer.getvalue()


def _damage(
    grey: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], form: str, rng: np.random.Generator
) -> bytes:
    if form.startswith("truncated"):
        content = encode(grey, form.removeprefix("truncated "))
        return content[: int(len(content) * rng.uniform(0.2, 0.8))]
    if form == "no image":
        return bytes(rng.bytes(4096))
    if form == "black":
        return encode(np.zeros_like(grey), "PNG")
    if form == "too small":
        return encode(grey[:8, :8], "PNG")
    return encode(grey, "PNG")[:8]


def sound_images(pool: Pool) -> npt.NDArray[np.bool_]:
    """Return for each image of the pool whether it can be screened."""
    return np.array([case.kind != "corrupt" for case in pool.cases], bool)
