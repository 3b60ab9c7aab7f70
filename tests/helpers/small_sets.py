"""A data folder as `thyroid-train` wants it, `ddti` and `busi`, small and made of phantoms."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np

from thyroid_training.phantoms import Phantom, PhantomTraits, make_phantom

DDTI_COLUMNS = (
    *("id", "case", "tirads", "label", "composition", "echogenicity", "margins"),
    *("calcifications", "sex", "age", "n_polygons", "burned_in_text", "dup_group"),
)
BUSI_COLUMNS = ("id", "class", "width", "height", "mask_fraction")

BENIGN: Mapping[str, str] = {
    "tirads": "2",
    "label": "0",
    "composition": "spongiform",
    "echogenicity": "isoechogenicity",
    "margins": "well defined smooth",
    "calcifications": "non",
}
MALIGNANT: Mapping[str, str] = {
    "tirads": "4b",
    "label": "1",
    "composition": "solid",
    "echogenicity": "marked hypoechogenicity",
    "margins": "ill defined",
    "calcifications": "microcalcifications",
}

# Five patients of each grade, so that each of five folds holds both. Case 5 has two images; cases
# 10 and 11 share a picture; case 12 has no grade.
DDTI_ROWS: tuple[Mapping[str, str], ...] = (
    *({"id": f"{case}_1", "case": f"{case}", **BENIGN} for case in range(1, 6)),
    {"id": "5_2", "case": "5", **BENIGN},
    *({"id": f"{case}_1", "case": f"{case}", **MALIGNANT} for case in range(6, 10)),
    {"id": "10_1", "case": "10", "dup_group": "a", **MALIGNANT},
    {"id": "11_1", "case": "11", "dup_group": "a", **MALIGNANT},
    {"id": "12_1", "case": "12"},
)
BUSI_ROWS: tuple[Mapping[str, str], ...] = (
    *({"id": f"benign_{number:03}", "class": "benign"} for number in range(1, 4)),
    *({"id": f"malignant_{number:03}", "class": "malignant"} for number in range(1, 4)),
    {"id": "normal_001", "class": "normal"},
)

HEIGHT_PX, WIDTH_PX = 200, 280


def nodule_traits(*, malignant: bool) -> PhantomTraits:
    """A bright, wide nodule, or a black, tall one: what the smallest network can tell apart."""
    return PhantomTraits(
        nodule=True,
        echogenicity="anechoic" if malignant else "hyperechoic",
        margin="smooth",
        taller_than_wide=malignant,
        calcifications="none",
    )


def write_sets(
    folder: Path,
    ddti: Iterable[Mapping[str, str]] = DDTI_ROWS,
    busi: Iterable[Mapping[str, str]] = BUSI_ROWS,
) -> Path:
    """Write both sets.

    Args:
        folder: Made where it does not exist.
        ddti: Rows of its manifest; a column that is left out is left empty.
        busi: Likewise.

    Returns:
        The folder, for `--data`.
    """
    without = PhantomTraits(
        nodule=False,
        echogenicity="isoechoic",
        margin="smooth",
        taller_than_wide=False,
        calcifications="none",
    )
    ddti, busi = list(ddti), list(busi)
    thyroids = {row["id"]: nodule_traits(malignant=row.get("label") == "1") for row in ddti}
    breasts = {
        row["id"]: without
        if row["class"] == "normal"
        else nodule_traits(malignant=row["class"] == "malignant")
        for row in busi
    }
    _write(folder / "ddti", DDTI_COLUMNS, ddti, thyroids, first_seed=0)
    _write(folder / "busi", BUSI_COLUMNS, busi, breasts, first_seed=len(ddti))
    return folder


def _write(
    folder: Path,
    columns: tuple[str, ...],
    rows: list[Mapping[str, str]],
    traits: Mapping[str, PhantomTraits],
    *,
    first_seed: int,
) -> None:
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for seed, row in enumerate(rows, start=first_seed):
        phantom = make_phantom(seed, traits[row["id"]], height_px=HEIGHT_PX, width_px=WIDTH_PX)
        _write_pair(folder, row["id"], phantom)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _write_pair(folder: Path, name: str, phantom: Phantom) -> None:
    jpeg = cv2.imencode(".jpg", phantom.image)[1].tobytes()
    png = cv2.imencode(".png", phantom.mask.astype(np.uint8) * 255)[1].tobytes()
    (folder / "images" / f"{name}.jpg").write_bytes(jpeg)
    (folder / "masks" / f"{name}.png").write_bytes(png)
