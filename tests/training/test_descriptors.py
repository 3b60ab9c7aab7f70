"""What radiologists said of a nodule: every value of the real set is known, others are refused."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from thyroid_training.descriptors import CLASS_COUNTS, read_descriptors


def test_values_are_read_by_column() -> None:
    row = {
        "id": "2_1",
        "tirads": "4b",
        "composition": "dense",
        "echogenicity": "hypoechogenicity",
        "margins": "spiculated",
        "calcifications": "non",
        "sex": "F",
    }
    assert read_descriptors(row) == {
        "tirads": 2,
        "composition": 0,
        "echogenicity": 2,
        "margins": 3,
        "calcifications": 0,
    }


@pytest.mark.parametrize(
    ("column", "alike"),
    [
        ("margins", ("ill defined", "ill- defined")),
        ("calcifications", ("microcalcification", "microcalcifications")),
        ("calcifications", ("macrocalcification", "macrocalcifications")),
        ("composition", ("solid", "dense")),
        ("tirads", ("2", "3")),
    ],
)
def test_spellings_of_one_thing_are_one_class(column: str, alike: tuple[str, str]) -> None:
    first, second = (read_descriptors({column: value}) for value in alike)
    assert first == second
    assert list(first) == [column]


def test_what_is_empty_or_missing_says_nothing() -> None:
    assert read_descriptors({}) == {}
    assert read_descriptors(dict.fromkeys(CLASS_COUNTS, "")) == {}


@pytest.mark.parametrize(
    ("column", "value"), [("tirads", "6"), ("margins", "Well defined"), ("calcifications", " ")]
)
def test_unknown_values_are_refused(column: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"`{column}` is '{value}' .* was wanted: spell it so"):
        read_descriptors({column: value})


def test_every_value_of_the_real_set_is_known(ddti: Path) -> None:
    with (ddti / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert set(CLASS_COUNTS) <= set(rows[0])
    read = [read_descriptors(row) for row in rows]
    for column, count in CLASS_COUNTS.items():
        given = sum(bool(row[column]) for row in rows)
        classes = Counter(each[column] for each in read if column in each)
        assert sum(classes.values()) == given > 200
        # No class without a nodule to learn it from, none of a handful.
        assert sorted(classes) == list(range(count))
        assert min(classes.values()) >= 8, (column, classes)
    # The grade that the classifier learns is the one that the classes of TI-RADS say.
    for row, each in zip(rows, read, strict=True):
        if row["label"]:
            assert (each["tirads"] > 0) == (row["label"] == "1")
