"""Reading sets of the layouts of DDTI and BUSI, and making samples of phantoms."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from thyroid_pipeline.frame import make_frame
from thyroid_training.dataset import (
    Sample,
    make_sample,
    phantom_samples,
    read_busi,
    read_ddti,
    shrink,
    shrink_mask,
)
from thyroid_training.mask_agreement import dice
from thyroid_training.phantoms import Phantom


def encode(suffix: str, grey: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(suffix, grey)[1].tobytes()


def write_manifest(folder: Path, rows: list[tuple[str, str]]) -> None:
    """A manifest of cases and duplicate groups alone; every image is the same."""
    for name in ("images", "masks"):
        (folder / name).mkdir()
    grey = np.full((64, 64), 100, np.uint8)
    grey[20:40, 20:40] = 30
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "case", "label", "dup_group"])
        for number, (case, duplicates) in enumerate(rows):
            writer.writerow([number, case, "1", duplicates])
            (folder / "images" / f"{number}.jpg").write_bytes(encode(".jpg", grey))
            (folder / "masks" / f"{number}.png").write_bytes(encode(".png", grey))


def groups_of(folder: Path) -> list[set[int]]:
    """Sets of row numbers that were read into one group."""
    together: dict[str, set[int]] = {}
    for number, read in enumerate(read_ddti(folder)):
        together.setdefault(read.group, set()).add(number)
    return sorted(together.values(), key=min)


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([("1", ""), ("2", ""), ("1", "")], [{0, 2}, {1}]),
        ([("1", "a"), ("2", "a"), ("3", "")], [{0, 1}, {2}]),
        # Two images of case 2 are duplicates of two other patients': all three are one.
        ([("1", "a"), ("2", "a"), ("2", "b"), ("3", "b"), ("4", "c")], [{0, 1, 2, 3}, {4}]),
        # A case that shares no picture itself, but its other image does.
        ([("1", ""), ("2", "a"), ("1", "a"), ("2", "")], [{0, 1, 2, 3}]),
        # A duplicate group within one case, and one whose name is a case's.
        ([("1", "2"), ("1", "2"), ("2", "")], [{0, 1}, {2}]),
        # A chain that is joined from both ends.
        (
            [("1", "a"), ("2", "b"), ("3", "c"), ("1", "b"), ("3", "d"), ("4", "d"), ("2", "c")],
            [{0, 1, 2, 3, 4, 5, 6}],
        ),
    ],
)
def test_patients_who_share_a_picture_are_one_group(
    tmp_path: Path, rows: list[tuple[str, str]], wanted: list[set[int]]
) -> None:
    write_manifest(tmp_path, rows)
    assert groups_of(tmp_path) == wanted


@settings(max_examples=10, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("123456789"), st.sampled_from(["", "", "a", "b", "c", "d"])),
        min_size=1,
        max_size=12,
    )
)
def test_groups_are_the_connected_parts(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    """Rows are joined where they share case or duplicate group; scipy finds the parts."""
    folder = tmp_path_factory.mktemp("set")
    write_manifest(folder, rows)
    joined = [
        (i, j)
        for i, (case, duplicates) in enumerate(rows)
        for j, (other, others) in enumerate(rows)
        if case == other or (duplicates and duplicates == others)
    ]
    ends = np.array(joined).T
    graph = coo_array((np.ones(len(joined)), (ends[0], ends[1])), shape=(len(rows), len(rows)))
    _, parts = connected_components(graph, directed=False)
    wanted = [set(np.flatnonzero(parts == part).tolist()) for part in np.unique(parts)]
    assert groups_of(folder) == sorted(wanted, key=min)


def test_set_is_read_as_it_is(
    ddti_folder: Path, ddti_samples: list[Sample], nodules: dict[str, Phantom]
) -> None:
    with (ddti_folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [read.name for read in ddti_samples] == [row["id"] for row in rows]
    wanted = [int(row["label"]) if row["label"] else None for row in rows]
    assert [read.label for read in ddti_samples] == wanted
    assert {None, 0, 1} == set(wanted)
    for read in ddti_samples:
        assert np.array_equal(read.truth, nodules[read.name].mask)


def test_frames_are_those_that_are_served(ddti_folder: Path, ddti_samples: list[Sample]) -> None:
    for read in ddti_samples[:4]:
        image = (ddti_folder / "images" / f"{read.name}.jpg").read_bytes()
        frame, geometry = make_frame(image)
        assert read.geometry == geometry
        assert np.array_equal(read.frame, frame)


def test_outlines_lie_on_the_frame_where_they_lie_in_the_image(
    ddti_samples: list[Sample],
) -> None:
    for read in ddti_samples:
        rows, columns = np.mgrid[: read.mask.shape[0], : read.mask.shape[1]] + 0.5
        geometry = read.geometry
        x = geometry.sector_x_px + (columns - geometry.content_x_px) * (
            geometry.sector_width_px / geometry.content_width_px
        )
        y = geometry.sector_y_px + (rows - geometry.content_y_px) * (
            geometry.sector_height_px / geometry.content_height_px
        )
        inside = (x >= 0) & (x < read.truth.shape[1]) & (y >= 0) & (y < read.truth.shape[0])
        looked_up = np.zeros_like(read.mask)
        looked_up[inside] = read.truth[y[inside].astype(int), x[inside].astype(int)]
        assert read.mask.any()
        assert dice(read.mask, looked_up) > 0.98


def test_missing_set_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"manifest.csv does not exist: .* DDTI set .* give"
    ):
        read_ddti(tmp_path)


def test_foreign_manifest_is_told(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("id,label\n1,0\n")
    with pytest.raises(ValueError, match="has no column case, dup_group; id, case, label"):
        read_ddti(tmp_path)


def test_outline_of_another_size_is_told(ddti_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ddti"
    shutil.copytree(ddti_folder, folder)
    small = encode(".png", np.zeros((180, 280), np.uint8))
    (folder / "masks" / "2_1.png").write_bytes(small)
    with pytest.raises(ValueError, match="outline of 2_1 is 280 x 180 pixels, its image 560 x 360"):
        read_ddti(folder)


# --- breast ultrasound


BUSI = (("benign_1", "benign"), ("malignant_1", "malignant"), ("normal_1", "normal"))


@pytest.fixture
def busi_folder(tmp_path: Path, nodules: dict[str, Phantom]) -> Path:
    """Three breasts, and one picture in which there is nothing to see."""
    folder = tmp_path / "busi"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    phantom = next(iter(nodules.values()))
    for name, _ in (*BUSI, ("black_1", "")):
        image = phantom.image * np.uint8(name != "black_1")
        mask = phantom.mask * np.uint8(255 * (not name.startswith("normal")))
        (folder / "images" / f"{name}.jpg").write_bytes(encode(".jpg", image))
        (folder / "masks" / f"{name}.png").write_bytes(encode(".png", mask))
    write_classes(folder, [*BUSI[:2], ("black_1", "benign"), BUSI[2]])
    return folder


def write_classes(folder: Path, rows: list[tuple[str, str]]) -> None:
    lines = [f"{name},{kind},560,360" for name, kind in rows]
    (folder / "manifest.csv").write_text("\n".join(["id,class,width,height", *lines]) + "\n")


def test_breasts_are_read_with_their_classes(
    busi_folder: Path, nodules: dict[str, Phantom]
) -> None:
    samples = read_busi(busi_folder)
    assert [read.name for read in samples] == ["benign_1", "malignant_1", "normal_1"]  # no black
    assert [read.label for read in samples] == [0, 1, None]
    assert len({read.group for read in samples}) == 3
    assert [bool(read.mask.any()) for read in samples] == [True, True, False]
    phantom = next(iter(nodules.values()))
    assert np.array_equal(samples[0].truth, phantom.mask)
    frame, geometry = make_frame((busi_folder / "images" / "benign_1.jpg").read_bytes())
    assert np.array_equal(samples[0].frame, frame)
    assert samples[0].geometry == geometry


def test_a_set_of_no_breasts_is_told(busi_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"manifest.csv does not exist: .* BUSI set"):
        read_busi(tmp_path)
    write_classes(busi_folder, [("benign_1", "cyst")])
    with pytest.raises(
        ValueError, match=r"`class` of benign_1 is 'cyst' .*'benign', 'malignant', 'normal' was"
    ):
        read_busi(busi_folder)
    (busi_folder / "manifest.csv").write_text("id,label\nbenign_1,0\n")
    with pytest.raises(ValueError, match="has no column class; id, class were wanted"):
        read_busi(busi_folder)


def test_a_breast_outlined_on_another_picture_is_told(busi_folder: Path) -> None:
    small = encode(".png", np.zeros((180, 280), np.uint8))
    (busi_folder / "masks" / "benign_1.png").write_bytes(small)
    with pytest.raises(ValueError, match="outline of benign_1 is 280 x 180 pixels"):
        read_busi(busi_folder)


# --- phantoms and sizes


def test_phantoms_are_samples_with_and_without_nodules() -> None:
    with_nodule = phantom_samples(2, seed=7, nodule_share=1.0)
    without = phantom_samples(2, seed=7, nodule_share=0.0)
    assert [read.name for read in with_nodule] == ["phantom_7", "phantom_8"]
    assert len({read.group for read in with_nodule}) == 2
    assert all(read.mask.any() and read.truth.any() for read in with_nodule)
    assert not any(read.mask.any() or read.truth.any() for read in without)
    assert {read.label for read in (*with_nodule, *without)} == {None}
    again = phantom_samples(1, seed=8, nodule_share=1.0)[0]
    assert np.array_equal(again.frame, with_nodule[1].frame)


def test_shrinking_averages_blocks() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (448, 448), np.uint8)
    for side in (224, 112, 64):
        step = 448 // side
        mean = frame.reshape(side, step, side, step).astype(float).mean(axis=(1, 3))
        small = shrink(frame, side)
        assert small.dtype == np.uint8
        assert np.abs(small - mean).max() <= 0.5 + 1e-6


def test_shrinking_a_mask_keeps_what_is_at_least_half() -> None:
    mask = np.zeros((4, 4), np.bool_)
    mask[0, :] = True  # the upper two blocks are half nodule
    mask[2, 0] = True  # this one a quarter
    mask[2:, 2:] = True
    assert shrink_mask(mask, 2).tolist() == [[True, True], [False, True]]


def test_a_sample_of_no_ultrasound_is_refused() -> None:
    with pytest.raises(ValueError, match="every pixel of the image is 0"):
        make_sample("black", "g", np.zeros((99, 99), np.uint8), np.zeros((99, 99), np.bool_), None)
