"""The real set, where it is: it is never shipped."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from thyroid_training.dataset import read_ddti, split_folds


def test_folds_of_the_real_set_part_no_patient_and_no_picture(ddti: Path) -> None:
    samples = read_ddti(ddti)
    assert len(samples) == 398
    assert Counter(sample.label for sample in samples) == {0: 60, 1: 286, None: 52}
    assert all(sample.truth.any() and sample.mask.any() for sample in samples)
    with (ddti / "manifest.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    folds = split_folds(samples)
    assert sorted(index for fold in folds for index in fold) == list(range(398))
    for column in ("case", "dup_group"):
        held = [{rows[samples[index].name][column] for index in fold} - {""} for fold in folds]
        assert sum(map(len, held)) == len(set().union(*held)), column
    for fold in folds:
        labels = Counter(samples[index].label for index in fold)
        assert labels[0] >= 6
        assert labels[1] >= 40
