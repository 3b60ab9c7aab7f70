"""The images that are sent: seeded, unique, of the shares asked for, refused where corrupt."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from thyroid_benchmarks.pool import Pool, Shares, encode, order, read_pool, write_pool
from thyroid_pipeline.decode import decode_image
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.frame import make_frame
from thyroid_training.phantoms import make_phantom

COUNT = 20


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("pool")
    write_pool(folder, COUNT, seed=3, shares=Shares(no_nodule=0.2, corrupt=0.25))
    return read_pool(folder)


def test_the_shares_are_those_asked_for(pool: Pool) -> None:
    kinds = Counter(case.kind for case in pool.cases)
    assert kinds == {"nodule": 11, "no_nodule": 4, "corrupt": 5}
    facts = pool.as_dict()
    assert (facts["images"], facts["corrupt"], facts["seed"]) == (COUNT, 5, 3)


def test_every_image_is_another_one(pool: Pool) -> None:
    sound = [
        content
        for case, content in zip(pool.cases, pool.contents, strict=True)
        if case.kind != "corrupt"
    ]
    assert len(set(sound)) == len(sound)
    assert len({case.form for case in pool.cases if case.kind != "corrupt"}) >= 2
    assert len({case.height_px for case in pool.cases if case.kind != "corrupt"}) >= 3


def test_sound_images_can_be_screened_and_corrupt_ones_cannot(pool: Pool) -> None:
    for case, content in zip(pool.cases, pool.contents, strict=True):
        if case.kind == "corrupt":
            with pytest.raises(ImageError):
                make_frame(content)
        else:
            _, geometry = make_frame(content)
            size = (geometry.image_height_px, geometry.image_width_px)
            assert size == (case.height_px, case.width_px)


@pytest.mark.parametrize("form", ["PNG", "16-bit PNG", "RGB PNG", "BMP", "WEBP", "TIFF"])
def test_lossless_forms_keep_every_grey_value(form: str) -> None:
    grey = make_phantom(1, height_px=160, width_px=200).image
    np.testing.assert_array_equal(decode_image(encode(grey, form)), grey)


def test_a_seed_fixes_every_byte(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("same", 5), ("other", 6)):
        write_pool(tmp_path / name, 4, seed)
    one, same, other = (read_pool(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    assert one.contents != other.contents


def test_the_order_holds_every_image_once(pool: Pool) -> None:
    assert sorted(order(pool, 1)) == list(range(COUNT))
    assert order(pool, 1) == order(pool, 1)
    assert order(pool, 1) != order(pool, 2)


def test_what_makes_no_pool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ask for one image or more"):
        write_pool(tmp_path, 0, 1)
    with pytest.raises(ValueError, match="leave room for nodules"):
        Shares(no_nodule=0.7, corrupt=0.5)
    with pytest.raises(FileNotFoundError, match=r"there is no pool\.json"):
        read_pool(tmp_path)
