"""A tiny network and a tiny image set of the DDTI's layout, made of phantoms."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from miniatures import TINY_COMPACT
from thyroid_training.dataset import Sample, phantom_samples, read_ddti
from thyroid_training.phantoms import Phantom, PhantomTraits, make_phantom
from thyroid_training.transunet_config import TransUNetConfig

# id, case, label, dup_group: patients with two images, a picture under two patients' ids, a third
# patient joined through a second duplicate, and images without a grade.
ROWS = (
    ("1_1", "1", "0", ""),
    ("2_1", "2", "1", ""),
    ("2_2", "2", "1", ""),
    ("3_1", "3", "0", "a"),
    ("4_1", "4", "1", "a"),
    ("4_2", "4", "1", "b"),
    ("5_1", "5", "1", "b"),
    ("6_1", "6", "", ""),
    *((f"{case}_1", f"{case}", f"{case % 2}", "") for case in range(7, 18)),
    ("18_1", "18", "", ""),
)
COLUMNS = ("id", "case", "tirads", "label", "composition", "dup_group")


@pytest.fixture(scope="session")
def tiny_config() -> TransUNetConfig:
    """A TransUNet of the served sides that runs in milliseconds."""
    return TINY_COMPACT


@pytest.fixture(scope="session")
def nodules() -> dict[str, Phantom]:
    """The phantoms of the set, by id: each with a nodule."""
    traits = PhantomTraits(
        nodule=True,
        echogenicity="hypoechoic",
        margin="smooth",
        taller_than_wide=False,
        calcifications="none",
    )
    return {name: make_phantom(number, traits) for number, (name, *_) in enumerate(ROWS)}


@pytest.fixture(scope="session")
def ddti_folder(tmp_path_factory: pytest.TempPathFactory, nodules: dict[str, Phantom]) -> Path:
    """A folder as `read_ddti` wants it."""
    folder = tmp_path_factory.mktemp("a set") / "ddti"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for name, phantom in nodules.items():
        jpeg = cv2.imencode(".jpg", phantom.image)[1].tobytes()
        png = cv2.imencode(".png", phantom.mask.astype(np.uint8) * 255)[1].tobytes()
        (folder / "images" / f"{name}.jpg").write_bytes(jpeg)
        (folder / "masks" / f"{name}.png").write_bytes(png)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for name, case, label, duplicates in ROWS:
            writer.writerow({"id": name, "case": case, "label": label, "dup_group": duplicates})
    return folder


@pytest.fixture(scope="session")
def ddti_samples(ddti_folder: Path) -> list[Sample]:
    return read_ddti(ddti_folder)


@pytest.fixture(scope="session")
def lesions() -> list[Sample]:
    """Phantoms in the breasts' place, one of either class."""
    samples = phantom_samples(2, seed=70, nodule_share=1.0)
    return [replace(sample, label=label) for label, sample in enumerate(samples)]
