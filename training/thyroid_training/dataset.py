"""Reading ultrasound sets with outlines, and splitting them so that no patient is on both sides."""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from thyroid_pipeline.crop import nodule_on_frame
from thyroid_pipeline.decode import decode_image
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.letterbox import Geometry, letterbox, plan_letterbox
from thyroid_pipeline.sector import cut_sector, find_sector
from thyroid_training.phantoms import make_phantom, sample_traits
from thyroid_training.protocol import FOLDS

# Of each set's manifest.csv; DDTI's `label` and `dup_group` may be empty.
_DDTI_COLUMNS = ("id", "case", "label", "dup_group")
_BUSI_COLUMNS = ("id", "class")
_BUSI_LABELS = {"benign": 0, "malignant": 1, "normal": None}


@dataclass(frozen=True)
class Sample:
    """One image as the networks see it.

    Attributes:
        name: Its id in the set.
        group: What it may not be parted from: the patient, and patients who share a picture.
        frame: UINT8 [FRAME_SIDE_PX, FRAME_SIDE_PX], made by the served pipeline.
        mask: bool of the same shape, the outlined nodules.
        truth: bool [image_height_px, image_width_px], the outline as it was drawn.
        geometry: Where the frame lies in the image.
        label: 1 malignant, 0 benign by the radiologist's grade, None without one.
    """

    name: str
    group: str
    frame: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]
    truth: npt.NDArray[np.bool_]
    geometry: Geometry
    label: int | None


def make_sample(
    name: str,
    group: str,
    grey: npt.NDArray[np.uint8],
    truth: npt.NDArray[np.bool_],
    label: int | None,
) -> Sample:
    """Put an image and its outline through the served pipeline's first step.

    Args:
        name: Id.
        group: Group for splitting.
        grey: UINT8 [height, width].
        truth: bool [height, width].
        label: Class or None.

    Returns:
        The sample.

    Raises:
        ValueError: Image and outline differ in size.
        ImageError: There is no ultrasound in the image.
    """
    if grey.shape != truth.shape:
        raise ValueError(
            f"the outline of {name} is {truth.shape[1]} x {truth.shape[0]} pixels, its image "
            f"{grey.shape[1]} x {grey.shape[0]}: the same size was wanted, draw it on the image "
            "as it is"
        )
    sector = find_sector(grey)
    height_px, width_px = grey.shape
    geometry = plan_letterbox(height_px, width_px, sector)
    frame = letterbox(cut_sector(grey, sector), geometry)
    return Sample(name, group, frame, nodule_on_frame(truth, geometry), truth, geometry, label)


def read_ddti(folder: Path) -> list[Sample]:
    """Read the Digital Database of Thyroid Ultrasound Images (Pedraza et al., SIPAIM 2015).

    Args:
        folder: Holds `manifest.csv`, `images/ID.jpg` and `masks/ID.png`.

    Returns:
        Its samples in the manifest's order.

    Raises:
        FileNotFoundError: The folder holds no such set.
        ValueError: The manifest lacks a column, or an outline is not of its image's size.
    """
    rows = _read_manifest(folder, "DDTI", _DDTI_COLUMNS)
    groups = _join_groups([(row["case"], row["dup_group"]) for row in rows])
    samples = []
    for row, group in zip(tqdm(rows, desc="reading DDTI", disable=None), groups, strict=True):
        label = int(row["label"]) if row["label"] else None
        samples.append(make_sample(row["id"], group, *_read_pair(folder, row["id"]), label))
    return samples


def read_busi(folder: Path) -> list[Sample]:
    """Read the breast ultrasound set (Al-Dhabyani et al., Data in Brief 28, 2020, 104863).

    Another organ: for pretraining, and as what the networks should find strange. It holds
    near-duplicates, so each sample is its own group and no test figure may come from it.

    Args:
        folder: Holds `manifest.csv`, `images/ID.jpg` and `masks/ID.png`.

    Returns:
        Its samples in the manifest's order, less those in which no sector is found. A breast
        without a lesion has no label and an empty mask.

    Raises:
        FileNotFoundError: The folder holds no such set.
        ValueError: The manifest lacks a column or has an unknown class, or a mask is not of its
            image's size.
    """
    samples = []
    rows = _read_manifest(folder, "BUSI", _BUSI_COLUMNS)
    for row in tqdm(rows, desc="reading BUSI", disable=None):
        grey, truth = _read_pair(folder, row["id"])
        if row["class"] not in _BUSI_LABELS:
            raise ValueError(
                f"`class` of {row['id']} is {row['class']!r} in the manifest; one of "
                f"{', '.join(map(repr, _BUSI_LABELS))} was wanted: spell it so"
            )
        label = _BUSI_LABELS[row["class"]]
        try:
            samples.append(make_sample(row["id"], row["id"], grey, truth, label))
        except ImageError:
            continue
    return samples


def _read_manifest(folder: Path, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise FileNotFoundError(
            f"{manifest} does not exist: the folder of the {name} set was wanted, with "
            "manifest.csv, images and masks; give its path"
        )
    with manifest.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(
            f"{manifest} has no column {', '.join(missing)}; {', '.join(columns)} were wanted, "
            "separated by commas and named in the first line"
        )
    return rows


def _read_pair(folder: Path, name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    grey = decode_image((folder / "images" / f"{name}.jpg").read_bytes())
    return grey, decode_image((folder / "masks" / f"{name}.png").read_bytes()) >= 128


def _join_groups(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Name one group for each row: cases that share a duplicate group become one."""
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        while leader.setdefault(key, key) != key:
            key = leader[key]
        return key

    for case, duplicates in rows:
        if duplicates:
            leader[find(f"case {case}")] = find(f"duplicates {duplicates}")
    return [find(f"case {case}") for case, _ in rows]


def split_folds(samples: Sequence[Sample], folds: int = FOLDS, seed: int = 0) -> list[list[int]]:
    """Split by group, with the classes in each fold as in the whole.

    Args:
        samples: What to split.
        folds: Number of folds.
        seed: Of the shuffle.

    Returns:
        For each fold the indices of its held-out samples; together they hold each index once.

    Raises:
        ValueError: There are too few groups, or too few samples of each class, for so many folds.
    """
    classes = [2 if sample.label is None else sample.label for sample in samples]
    groups = [sample.group for sample in samples]
    if len(set(groups)) < folds or max(Counter(classes).values()) < folds:
        raise ValueError(
            f"{len(samples)} samples in {len(set(groups))} groups cannot be split into {folds} "
            f"folds; at least {folds} groups, and {folds} samples of one class, were wanted: give "
            "more samples"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Of a class with fewer samples than folds: it is spread as far as it goes.
        warnings.simplefilter("ignore", UserWarning)
        return [held_out.tolist() for _, held_out in splitter.split(classes, classes, groups)]


def phantom_samples(count: int, seed: int, nodule_share: float) -> list[Sample]:
    """Make phantoms as samples.

    Args:
        count: How many.
        seed: Of the first; each has its own.
        nodule_share: Share of those with a nodule.

    Returns:
        The samples, without a class: a phantom has no diagnosis.
    """
    samples = []
    for number in tqdm(range(count), desc="making phantoms", disable=None):
        traits = sample_traits(np.random.default_rng(seed + number), nodule_share)
        phantom = make_phantom(seed + number, traits)
        name = f"phantom_{seed + number}"
        samples.append(make_sample(name, name, phantom.image, phantom.mask, None))
    return samples


def shrink(frame: npt.NDArray[np.uint8], side_px: int) -> npt.NDArray[np.uint8]:
    """Average a square UINT8 picture down to a side that divides its own."""
    small = cv2.resize(frame, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def shrink_mask(mask: npt.NDArray[np.bool_], side_px: int) -> npt.NDArray[np.bool_]:
    """Bring a square mask down to a side that divides its own: True where at least half is."""
    return shrink(mask.astype(np.uint8) * np.uint8(255), side_px) >= 128
