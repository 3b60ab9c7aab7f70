"""The demonstration set: formats, truth and determinism, read back with another library."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from thyroid_training.phantom_set import write_phantom_set

COUNT, NO_NODULE = 12, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A space in the path, as users have.
    folder = tmp_path_factory.mktemp("phantom set") / "made here"
    write_phantom_set(folder, COUNT, seed=4, no_nodule=NO_NODULE)
    return folder


def images(folder: Path) -> list[Path]:
    return sorted((folder / "images").iterdir())


def read(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as image:
        return np.array(image).astype(np.int64)


def test_paths_come_back_in_order(tmp_path: Path) -> None:
    paths = write_phantom_set(tmp_path, 3, seed=0, no_nodule=1)
    assert [path.name for path in paths] == ["phantom_00.png", "phantom_01.jpg", "phantom_02.png"]
    assert paths == images(tmp_path)


def test_formats_are_what_their_names_say(folder: Path) -> None:
    formats: list[str] = []
    modes: list[str] = []
    for path in images(folder):
        with Image.open(path) as image:
            image.load()
            formats.append(str(image.format))
            modes.append(image.mode)
    assert len(formats) == COUNT
    assert {form: formats.count(form) for form in set(formats)} == {
        "PNG": 7,
        "JPEG": 2,
        "BMP": 1,
        "WEBP": 1,
        "TIFF": 1,
    }
    deep = [mode for mode in modes if mode.startswith("I")]
    coloured = [
        mode for mode, form in zip(modes, formats, strict=True) if (mode, form) == ("RGB", "PNG")
    ]
    assert len(deep) == 1
    assert len(coloured) == 1


def test_sizes_vary(folder: Path) -> None:
    sizes = set()
    for path in images(folder):
        with Image.open(path) as image:
            sizes.add(image.size)
    assert len(sizes) >= 6
    assert any(height > width for width, height in sizes)


def test_truth_belongs_to_its_image(folder: Path) -> None:
    records = json.loads((folder / "truth" / "traits.json").read_text(encoding="utf-8"))
    assert list(records) == [path.name for path in images(folder)]
    empty = 0
    for path in images(folder):
        record = records[path.name]
        mask = read(folder / "truth" / f"{path.stem}.png")
        with Image.open(path) as image:
            assert mask.shape == image.size[::-1]
        assert set(np.unique(mask)) <= {0, 255}
        assert mask.any() == record["nodule"]
        x, y, width, height = record["sector_box"]
        assert not np.delete(mask, np.s_[y : y + height], axis=0).any()
        assert not np.delete(mask, np.s_[x : x + width], axis=1).any()
        empty += not mask.any()
    assert empty == NO_NODULE


def test_sixteen_bit_image_uses_its_whole_range(folder: Path) -> None:
    deep = read(folder / "images" / "phantom_02.png")
    assert deep.max() > 40_000
    assert np.array_equal(deep % 257, np.zeros_like(deep))


@pytest.mark.parametrize(("count", "no_nodule"), [(1, 0), (1, 1), (5, 5), (9, 4), (8, 0)])
def test_exactly_as_many_without_nodule_as_asked(
    tmp_path: Path, count: int, no_nodule: int
) -> None:
    paths = write_phantom_set(tmp_path, count, seed=1, no_nodule=no_nodule)
    masks = [read(tmp_path / "truth" / f"{path.stem}.png") for path in paths]
    assert sum(not mask.any() for mask in masks) == no_nodule


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    def contents() -> dict[str, bytes]:
        write_phantom_set(tmp_path, 4, seed=9, no_nodule=1)
        files = (path for path in tmp_path.rglob("*") if path.is_file())
        return {str(path.relative_to(tmp_path)): path.read_bytes() for path in files}

    first = contents()
    assert len(first) == 4 + 4 + 1
    assert contents() == first


@pytest.mark.parametrize(
    ("count", "seed", "no_nodule", "message"),
    [
        (0, 0, 0, "`count` is 0, wanted 1 or more"),
        (3, 0, 4, "`no_nodule` is 4, wanted 0 to 3"),
        (3, 0, -1, "`no_nodule` is -1, wanted 0 to 3"),
        (3, -1, 0, "`seed` is -1, wanted 0 or more"),
    ],
)
def test_impossible_sets_are_refused_and_nothing_is_written(
    tmp_path: Path, count: int, seed: int, no_nodule: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_phantom_set(tmp_path / "set", count, seed=seed, no_nodule=no_nodule)
    assert not (tmp_path / "set").exists()
