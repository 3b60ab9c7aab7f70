"""`report.html`: one self-contained file for a radiologist, what is to be followed up first.

Pictures wait in a nameless file in the folder of the results until their place in the order is
known; then the page is written card by card. So memory holds one card's pictures at a time, and no
pixel leaves the folder.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from thyroid_client._page import histogram, page_template, signed
from thyroid_client._pictures import Pictures
from thyroid_client.decisions import READINGS, Reading
from thyroid_client.figures import GROUPS, MEANINGS, Meaning
from thyroid_client.results import ResultLine

if TYPE_CHECKING:
    from typing_extensions import Self  # in `typing` from Python 3.11

# The two opinions are marked where they are so far apart. A plain distance: what a disagreement
# is worth has not been measured, and neither is taken for the right one.
_FAR_APART = 0.5

_READINGS: Mapping[str | None, Reading] = {reading.decision.label: reading for reading in READINGS}


@dataclass(frozen=True)
class RunFacts:
    """What a report says about the run as a whole.

    Attributes:
        started: When it began, with its time zone.
        duration_s: How long it took.
        address: Of the server.
        model_versions: By model; empty if the server has not answered.
        client_version: Of this package.
        interrupted: Whether it was ended before all images were done.
        planned: How many images there were to screen.
    """

    started: datetime
    duration_s: float
    address: str
    model_versions: Mapping[str, str]
    client_version: str
    interrupted: bool
    planned: int


@dataclass(frozen=True)
class _Spooled:
    """Where one picture's bytes lie in the spool."""

    offset: int
    size_bytes: int


@dataclass(frozen=True)
class _Entry:
    line: ResultLine
    reading: Reading
    pictures: Mapping[str, _Spooled]
    width_px: int
    height_px: int


@dataclass(frozen=True)
class _Section:
    """The images of one decision; the cards are drawn up one by one, once."""

    reading: Reading
    count: int
    cards: Iterator[Card]


@dataclass(frozen=True)
class _Figure:
    meaning: Meaning
    shown: str
    reading: str


@dataclass(frozen=True)
class Card:
    """What the template shows of one image.

    Attributes:
        number: Its place in the report, from 1.
        line: Its line in `results.jsonl`.
        reading: Of its decision.
        name: Its file's name.
        pictures: Data URIs by "original", "outline" and "evidence"; those that there are.
        width_px: Of the pictures.
        height_px: Of the pictures.
        far_apart: Whether the two opinions differ by `_FAR_APART` or more.
        groups: The figures by group; empty without a nodule and out of distribution, where they
            would read as those of one.
        evidence_range: The evidence's least and largest value; empty where there is none.
    """

    number: int
    line: ResultLine
    reading: Reading
    name: str
    pictures: Mapping[str, str]
    width_px: int
    height_px: int
    far_apart: bool
    groups: Sequence[tuple[str, Sequence[_Figure]]]
    evidence_range: str


class Report:
    """Gathers results and writes the page.

    Args:
        folder: Where pictures may wait: that of the results.
    """

    def __init__(self, folder: Path) -> None:
        self._spool: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - see close
        self._entries: list[_Entry] = []
        self._failures: list[ResultLine] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the waiting pictures."""
        self._spool.close()

    def add(self, line: ResultLine, pictures: Pictures | None) -> None:
        """Add one image.

        Args:
            line: Its line in `results.jsonl`.
            pictures: None where it failed or cannot be drawn.
        """
        if line["status"] == "error":
            self._failures.append(line)
            return
        spooled = {}
        for name in ("original", "outline", "evidence"):
            content = None if pictures is None else getattr(pictures, name)
            if content is not None:
                spooled[name] = _Spooled(self._spool.seek(0, os.SEEK_END), len(content))
                self._spool.write(content)
        width_px, height_px = (pictures.width_px, pictures.height_px) if pictures else (0, 0)
        reading = _READINGS[line["decision"]]
        self._entries.append(_Entry(line, reading, spooled, width_px, height_px))

    def write(self, path: Path, facts: RunFacts) -> None:
        """Write the page; an older one is replaced when the new one is whole.

        Args:
            path: Of the HTML file.
            facts: Of the run.
        """
        ordered = sorted(self._entries, key=_place)
        probabilities = [entry.line["malignancy"] for entry in ordered]
        stream = page_template().stream(
            facts=facts,
            failures=sorted(self._failures, key=lambda line: line["index"]),
            sections=self._sections(ordered),
            index=list(enumerate(ordered, 1)),
            bins=histogram([value for value in probabilities if value is not None]),
            far_apart_points=round(100 * _FAR_APART),
        )
        unfinished = path.with_name(path.name + ".part")
        with unfinished.open("wb") as file:
            # A path that is no UTF-8 has surrogates, which HTML cannot carry.
            stream.dump(file, encoding="utf-8", errors="replace")
        unfinished.replace(path)

    def _sections(self, ordered: Sequence[_Entry]) -> list[_Section]:
        numbered = list(enumerate(ordered, 1))
        sections = []
        for reading in READINGS:
            those = [(number, entry) for number, entry in numbered if entry.reading is reading]
            sections.append(_Section(reading, len(those), self._cards(those)))
        return sections

    def _cards(self, numbered: Sequence[tuple[int, _Entry]]) -> Iterator[Card]:
        for number, entry in numbered:
            line = entry.line
            judged = line["malignancy"] is not None
            cells = [value for row in line["evidence"] or () for value in row]
            yield Card(
                number=number,
                line=line,
                reading=entry.reading,
                name=PurePath(line["source"]).name,
                pictures={name: self._data_uri(at) for name, at in entry.pictures.items()},
                width_px=entry.width_px,
                height_px=entry.height_px,
                far_apart=_far_apart(line["malignancy"], line["forest_malignancy"]),
                groups=_figure_groups(line["morphology"] if judged else None),
                evidence_range=f"{signed(min(cells))} to {signed(max(cells))}" if cells else "",
            )

    def _data_uri(self, spooled: _Spooled) -> str:
        self._spool.seek(spooled.offset)
        content = self._spool.read(spooled.size_bytes)
        return f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"


def _place(entry: _Entry) -> tuple[int, float, int]:
    """Order by decision, then by probability where there is one, then as the images were found."""
    line = entry.line
    return READINGS.index(entry.reading), -(line["malignancy"] or 0.0), line["index"]


def _far_apart(malignancy: float | None, forest: float | None) -> bool:
    return malignancy is not None and forest is not None and abs(malignancy - forest) >= _FAR_APART


def _figure_groups(
    morphology: Mapping[str, float | None] | None,
) -> list[tuple[str, list[_Figure]]]:
    if morphology is None:
        return []
    groups: dict[str, list[_Figure]] = {group: [] for group in GROUPS}
    for name, meaning in MEANINGS.items():
        kept = morphology[name]
        value = float("nan") if kept is None else kept
        figure = _Figure(meaning, meaning.shown(value), meaning.read(value))
        groups[meaning.group].append(figure)
    return list(groups.items())
