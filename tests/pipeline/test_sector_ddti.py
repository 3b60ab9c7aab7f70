"""The sector on real pictures, where they lie beside the checkout."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from thyroid_pipeline.frame import make_frame
from thyroid_pipeline.letterbox import Geometry
from thyroid_pipeline.sector import Sector, cut_sector, find_sector


class Case(NamedTuple):
    name: str
    grey: NDArray[np.uint8]
    nodule: NDArray[np.bool_]
    has_text: bool
    sector: Sector


def read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)


@pytest.fixture(scope="module")
def cases(ddti: Path) -> list[Case]:
    found = []
    with (ddti / "manifest.csv").open(newline="") as manifest:
        for row in csv.DictReader(manifest):
            grey = read(ddti / "images" / f"{row['id']}.jpg")
            nodule = read(ddti / "masks" / f"{row['id']}.png") > 127
            has_text = row["burned_in_text"] == "1"
            found.append(Case(row["id"], grey, nodule, has_text, find_sector(grey)))
    return found


def on_image(case: Case) -> NDArray[np.bool_]:
    inside = np.zeros(case.grey.shape, np.bool_)
    sector = case.sector
    rows = slice(sector.y_px, sector.y_px + sector.height_px)
    inside[rows, sector.x_px : sector.x_px + sector.width_px] = sector.inside
    return inside


def text_rows(grey: NDArray[np.uint8]) -> tuple[int, int]:
    """First and last row of the lowest line of writing, by its brightness and the black above it.

    Beside the middle the surround has marks of its own: neck, side label, ruler.
    """
    lit = np.flatnonzero((grey[:, 120:430] >= 100).any(axis=1))
    last = first = int(lit[-1])
    while first - 1 in lit:
        first -= 1
    return first, last


def test_every_picture_has_a_sector_that_covers_its_nodules(cases: list[Case]) -> None:
    shares = {case.name: float(on_image(case)[case.nodule].mean()) for case in cases}
    assert len(shares) == 398
    assert min(shares.values()) >= 0.985, min(shares, key=shares.__getitem__)
    assert np.mean(list(shares.values())) >= 0.999


def test_burned_in_text_lies_outside_the_sector(cases: list[Case]) -> None:
    checked = 0
    for case in cases:
        if not case.has_text:
            continue
        first, last = text_rows(case.grey)
        if last - first > 45:
            continue  # one picture has tissue down to its lowest rows and no text
        checked += 1
        assert case.sector.y_px + case.sector.height_px <= first, case.name
        assert not on_image(case)[first : last + 1].any(), case.name
    assert checked == 65


def test_painting_the_surround_anew_changes_no_byte_of_the_sector(cases: list[Case]) -> None:
    """Other words in the place of the burned-in ones leave what the network sees as it was."""
    for case in [case for case in cases if case.has_text][::4]:
        first, last = text_rows(case.grey)
        if last - first > 45:
            continue
        other = case.grey.copy()
        other[first - 4 :] = 0
        place = (150, min(last, other.shape[0] - 3))
        cv2.putText(other, "BENIGN NODULE", place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255,), 1)
        found = find_sector(other)
        assert np.array_equal(cut_sector(other, found), cut_sector(case.grey, case.sector))


def test_a_frame_is_made_of_every_tenth_file(cases: list[Case], ddti: Path) -> None:
    for case in cases[::10]:
        frame, geometry = make_frame((ddti / "images" / f"{case.name}.jpg").read_bytes())
        assert Geometry.from_array(geometry.to_array()) == geometry
        assert (geometry.image_height_px, geometry.image_width_px) == case.grey.shape
        # Of the frame's grey, as much as of the sector's: none is lost or made up on the way.
        cut = cut_sector(case.grey, case.sector)
        content = frame[
            geometry.content_y_px : geometry.content_y_px + geometry.content_height_px,
            geometry.content_x_px : geometry.content_x_px + geometry.content_width_px,
        ]
        assert content.mean() == pytest.approx(cut.mean(), rel=0.02)
        assert frame.sum() == content.sum()
