"""From the paths of a command line to the image files that they mean."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from thyroid_pipeline import contract


class NothingToScreenError(ValueError):
    """No image was found where one was looked for."""


def image_suffixes() -> frozenset[str]:
    """Return the file suffixes, in lower case with the dot, of `contract.IMAGE_FORMATS`."""
    return frozenset(
        suffix
        for suffix, image_format in Image.registered_extensions().items()
        if image_format in contract.IMAGE_FORMATS
    )


def find_images(paths: Iterable[Path], *, leave_out: Path | None = None) -> list[Path]:
    """Find the images in files and folders.

    A file that is named is taken whatever its suffix. Folders are searched with all below them, by
    suffix and in alphabetical order; hidden files and folders are skipped, and links to folders are
    not followed. A file that is reached twice is taken once.

    Args:
        paths: Files and folders.
        leave_out: The folder of results, which is not searched: they are no input.

    Returns:
        The files, folder by folder in the order given.

    Raises:
        NothingToScreenError: A path does not exist or lies in `leave_out`, or there is no image.
    """
    paths = list(paths)
    left_out = None if leave_out is None else leave_out.resolve()
    suffixes = image_suffixes()
    found: dict[Path, Path] = {}
    for path in paths:
        if left_out is not None and path.resolve().is_relative_to(left_out):
            raise NothingToScreenError(
                f"{path} lies in {leave_out}, where the results go, and would be screened again "
                "the next time: give another folder for the results"
            )
        if path.is_dir():
            candidates = _search(path, suffixes, left_out)
        elif path.exists():
            candidates = iter((path,))
        else:
            raise NothingToScreenError(
                f"{path} does not exist: give image files, or folders that hold some"
            )
        for candidate in candidates:
            found.setdefault(candidate.resolve(), candidate)
    if not found:
        raise NothingToScreenError(
            f"no image was found in {', '.join(map(str, paths)) or 'no path'}; files ending in "
            f"{', '.join(sorted(suffixes))} were looked for: name a file to take it whatever its "
            "suffix"
        )
    return list(found.values())


def _search(folder: Path, suffixes: frozenset[str], left_out: Path | None) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        # In place: this is how os.walk is told where not to go.
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (here / name).resolve() != left_out
        )
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                yield here / name
