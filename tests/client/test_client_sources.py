"""What may be given as an image, and what reaches the server of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from thyroid_client import ImageUnreadable
from thyroid_client._sources import encoded_image
from thyroid_pipeline import contract
from thyroid_pipeline.decode import decode_image

SIDES = st.integers(64, 90)


def test_bytes_and_files_are_sent_as_they_are(tmp_path: Path) -> None:
    content = b"anything at all"
    path = tmp_path / "image of a neck.jpg"
    path.write_bytes(content)
    for source in (content, bytearray(content), memoryview(content), path, str(path)):
        assert encoded_image(source) == content


@given(hnp.arrays(np.uint8, st.tuples(SIDES, SIDES)))
def test_eight_bit_grey_arrives_exactly(array: np.ndarray[Any, Any]) -> None:
    np.testing.assert_array_equal(decode_image(encoded_image(array)), array)


@given(hnp.arrays(st.sampled_from(["<u2", ">u2"]), st.tuples(SIDES, SIDES)))
def test_sixteen_bit_grey_arrives_by_its_full_range(array: np.ndarray[Any, Any]) -> None:
    decoded = decode_image(encoded_image(array)).astype(float)
    assert np.abs(decoded - array.astype(float) / 257).max() <= 0.5


def test_colour_arrives_in_order() -> None:
    array = np.zeros((70, 80, 3), np.uint8)
    array[..., 1] = 255
    assert set(decode_image(encoded_image(array)).flat) == {150}  # 0.587 of green


def test_views_arrive_like_copies(fake: SimpleNamespace) -> None:
    array = fake.grey_image(height=160, width=240)
    for view in (array[::2, ::-2], array.T, np.asfortranarray(array)):
        np.testing.assert_array_equal(decode_image(encoded_image(view)), view)


@pytest.mark.parametrize("data_type", ["float32", "float64", "int16", "bool", "uint32"])
def test_other_types_are_told_how_to_scale(data_type: str) -> None:
    with pytest.raises(
        ImageUnreadable,
        match=rf"{data_type.upper()} \[70, 80\] came; UINT8 or UINT16 .*astype\(np.uint8\)",
    ):
        encoded_image(np.zeros((70, 80), data_type))


@pytest.mark.parametrize("shape", [(70,), (70, 80, 4), (70, 80, 1), (2, 70, 80, 3), (0, 80), ()])
def test_other_shapes_are_told_what_is_wanted(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageUnreadable, match=r"\[height, width\] or \[height, width, 3\]"):
        encoded_image(np.zeros(shape, np.uint8))


def test_sixteen_bit_colour_is_told_to_send_one_channel() -> None:
    with pytest.raises(ImageUnreadable, match=r"send one channel, `array\[:, :, 0\]`"):
        encoded_image(np.zeros((70, 80, 3), np.uint16))


@pytest.mark.parametrize("source", [None, 7, ["neck.png"], {"image": b""}])
def test_what_is_no_image_is_refused(source: object) -> None:
    with pytest.raises(ImageUnreadable, match=f"{type(source).__name__} is no image"):
        encoded_image(source)  # type: ignore[arg-type]


def test_missing_files_folders_and_odd_names(tmp_path: Path) -> None:
    with pytest.raises(ImageUnreadable, match=r"none\.png cannot be read \(No such file"):
        encoded_image(tmp_path / "none.png")
    with pytest.raises(ImageUnreadable, match=r"cannot be read \(Is a directory"):
        encoded_image(tmp_path)
    with pytest.raises(ImageUnreadable, match="cannot be read"):
        encoded_image("nul\0byte.png")


def test_empty_images_are_not_sent(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    for source in (tmp_path / "empty.png", b""):
        with pytest.raises(ImageUnreadable, match="is empty"):
            encoded_image(source)


def test_files_above_the_limit_are_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "huge.bmp"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a sparse terabyte: it must not be read to find out
    with pytest.raises(ImageUnreadable, match=f"more than {contract.MAX_IMAGE_BYTES:,} bytes"):
        encoded_image(path)
    with pytest.raises(ImageUnreadable, match="more than"):
        encoded_image(bytes(contract.MAX_IMAGE_BYTES + 1))
    assert len(encoded_image(bytes(contract.MAX_IMAGE_BYTES))) == contract.MAX_IMAGE_BYTES
