"""The meanings of the figures: one for each figure of the contract, readings by definition only."""

from __future__ import annotations

import math

import pytest

from thyroid_client.figures import GROUPS, MEANINGS
from thyroid_pipeline import contract


def test_each_figure_of_the_contract_has_a_meaning() -> None:
    assert set(MEANINGS) == set(contract.MORPHOLOGY_FIELDS)
    assert {meaning.group for meaning in MEANINGS.values()} == set(GROUPS)
    assert len({meaning.label for meaning in MEANINGS.values()}) == len(MEANINGS)


@pytest.mark.parametrize("name", contract.MORPHOLOGY_FIELDS)
def test_units_are_those_of_the_names(name: str) -> None:
    unit = {"px": "px", "px2": "px²"}.get(name.rsplit("_", maxsplit=1)[-1], "")
    meaning = MEANINGS[name]
    assert meaning.unit == unit
    assert meaning.shown(1234.567).endswith(f" {unit}" if unit else "1,234.57")
    assert meaning.shown(math.nan) == "\N{EN DASH}"
    assert meaning.read(math.nan) == ""


@pytest.mark.parametrize(
    ("name", "value", "reading"),
    [
        ("height_to_width", 1.3, "Taller than wide"),
        ("height_to_width", 0.7, "Wider than tall"),
        ("height_to_width", 1.001, ""),  # shown as 1.00
        ("echo_ratio", 0.8, "Darker than around"),
        ("echo_ratio", 1.2, "Brighter than around"),
        ("posterior_ratio", 1.4, "Brighter behind"),
        ("posterior_ratio", 0.6, "Darker behind"),
        ("circularity", 0.2, ""),
    ],
)
def test_readings(name: str, value: float, reading: str) -> None:
    assert MEANINGS[name].read(value) == reading
