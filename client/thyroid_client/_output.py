"""The folder of results: its names, its pictures and its lines."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thyroid_client.overlay import evidence_picture, outline_picture
from thyroid_client.results import Files, ResultLine, to_json
from thyroid_client.screening import Screening
from thyroid_pipeline.mask_png import encode_mask

if TYPE_CHECKING:
    from typing_extensions import Self  # in `typing` from Python 3.11

RESULTS_NAME = "results.jsonl"
REPORT_NAME = "report.html"
_MASKS, _OVERLAYS = "masks", "overlays"
# Every picture written here is called so: the image's index, then its name.
_OURS = re.compile(r"\d{4,}_.*\.png")
_LONGEST_STEM = 80


class OutputFolder:
    """Writes results into a folder; what an earlier run left there is replaced.

    Args:
        folder: Made if it does not exist.

    Raises:
        OSError: The folder cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in (_MASKS, _OVERLAYS):
            (folder / name).mkdir(parents=True, exist_ok=True)
        if (folder / RESULTS_NAME).exists():
            self._clear()
        self._lines = (folder / RESULTS_NAME).open("w", encoding="utf-8", newline="\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lines.close()

    def write_mask(self, index: int, source: Path, screening: Screening) -> str:
        """Write the mask as a 1-bit PNG and return its path within the folder."""
        name = f"{_MASKS}/{_stem(index, source)}.png"
        (self.folder / name).write_bytes(encode_mask(screening.mask))
        return name

    def write_overlays(
        self, index: int, source: Path, screening: Screening, grey: npt.NDArray[np.uint8]
    ) -> tuple[str, str | None]:
        """Write the outline and, where there is any, the evidence as pictures of the image's size.

        Args:
            index: Of the image.
            source: Its path.
            screening: Of this image.
            grey: UINT8 [height, width], the upright image.

        Returns:
            Their paths within the folder.

        Raises:
            ValueError: Image and mask differ in size.
        """
        stem = _stem(index, source)
        outline_name = f"{_OVERLAYS}/{stem}.png"
        outline_picture(grey, screening.mask, screening.box).save(
            self.folder / outline_name, compress_level=1
        )
        if screening.box is None or screening.evidence is None:
            return outline_name, None
        evidence_name = f"{_OVERLAYS}/{stem}_evidence.png"
        evidence_picture(grey, screening.mask, screening.box, screening.evidence).save(
            self.folder / evidence_name, compress_level=1
        )
        return outline_name, evidence_name

    def write_line(self, line: ResultLine) -> None:
        """Append a line to `results.jsonl`, so that it is there whatever happens next."""
        self._lines.write(to_json(line) + "\n")
        self._lines.flush()

    def _clear(self) -> None:
        """Remove an earlier run's pictures, which its lines will no longer name."""
        for name in (_MASKS, _OVERLAYS):
            for path in (self.folder / name).iterdir():
                if _OURS.fullmatch(path.name):
                    path.unlink()
        (self.folder / REPORT_NAME).unlink(missing_ok=True)


def no_files() -> Files:
    """Return the files of an image for which nothing was written."""
    return Files(mask_file=None, overlay_file=None, evidence_file=None)


def _stem(index: int, source: Path) -> str:
    """Name an image's files: the index keeps equal names apart, and odd letters are left out."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", source.stem)[:_LONGEST_STEM]
    return f"{index:04d}_{plain}"
