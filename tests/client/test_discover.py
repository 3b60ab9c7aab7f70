"""Which files a command line means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from thyroid_client.discover import NothingToScreenError, find_images, image_suffixes
from thyroid_pipeline import contract


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_suffixes_are_those_of_the_accepted_formats(tmp_path: Path) -> None:
    assert {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"} <= image_suffixes()
    assert not {".gif", ".dcm", ".txt", ".pdf"} & image_suffixes()
    for image_format in contract.IMAGE_FORMATS:
        name = f"image.{image_format.lower()}"
        Image.new("L", (8, 8)).save(tmp_path / name, image_format)
    assert len(find_images([tmp_path])) == len(contract.IMAGE_FORMATS)


def test_folders_are_searched_in_order(tmp_path: Path) -> None:
    wanted = [
        tmp_path / "b.PNG",
        tmp_path / "c.jpg",
        tmp_path / "a folder" / "0.png",
        tmp_path / "z" / "deep" / "1.tiff",
    ]
    unwanted = [tmp_path / "notes.txt", tmp_path / ".hidden.png", tmp_path / ".git" / "x.png"]
    touch(*wanted, *unwanted)
    assert find_images([tmp_path]) == wanted


def test_a_named_file_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    odd, hidden = tmp_path / "IM0001", tmp_path / ".hidden"
    touch(odd, hidden)
    assert find_images([odd, hidden]) == [odd, hidden]


def test_the_order_of_paths_is_kept_and_nothing_comes_twice(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png", tmp_path / "b" / "1.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "a" / "1.png")
    found = find_images([tmp_path / "b", tmp_path, tmp_path / "a" / "1.png"])
    assert found == [tmp_path / "b" / "1.png", tmp_path / "link.png"]


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "1.png")
    (tmp_path / "images" / "again").symlink_to(tmp_path / "images")
    assert find_images([tmp_path / "images"]) == [tmp_path / "images" / "1.png"]


def test_results_are_no_input(tmp_path: Path) -> None:
    out = tmp_path / "results"
    touch(tmp_path / "1.png", out / "overlays" / "0000_1.png")
    assert find_images([tmp_path], leave_out=out) == [tmp_path / "1.png"]
    for path in (out, out / "overlays", out / "overlays" / "0000_1.png"):
        with pytest.raises(NothingToScreenError, match="where the results go"):
            find_images([tmp_path, path], leave_out=out)


def test_nothing_found(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    with pytest.raises(NothingToScreenError, match=r"no image was found in .*\.png"):
        find_images([tmp_path])
    with pytest.raises(NothingToScreenError, match=r"none\.png does not exist"):
        find_images([tmp_path / "none.png"])
    with pytest.raises(NothingToScreenError, match="no image was found in no path"):
        find_images([])


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    touch(path)
    assert find_images([tmp_path]) == [path]
