"""`report.html`: one self-contained file for a radiologist, worst first.

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

import jinja2

from thyroid_client._pictures import Pictures
from thyroid_client.figures import GROUPS, MEANINGS, Meaning
from thyroid_client.overlay import BENIGN_RGB, CORNER_RGB, MALIGNANT_RGB, OUTLINE_RGB
from thyroid_client.results import ResultLine

if TYPE_CHECKING:
    from typing_extensions import Self  # in `typing` from Python 3.11

_BINS = 10  # of the distribution of probabilities


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
    pictures: Mapping[str, _Spooled]
    width_px: int
    height_px: int


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
        name: Its file's name.
        pictures: Data URIs by "original", "outline" and "evidence"; those that there are.
        width_px: Of the pictures.
        height_px: Of the pictures.
        groups: The figures by group; empty without a nodule.
        evidence_range: The evidence's least and largest value; empty without a nodule.
    """

    number: int
    line: ResultLine
    name: str
    pictures: Mapping[str, str]
    width_px: int
    height_px: int
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
        self._entries.append(_Entry(line, spooled, width_px, height_px))

    def write(self, path: Path, facts: RunFacts) -> None:
        """Write the page; an older one is replaced when the new one is whole.

        Args:
            path: Of the HTML file.
            facts: Of the run.
        """
        with_nodule = sorted(
            (entry for entry in self._entries if entry.line["nodule_found"]),
            key=lambda entry: (-(entry.line["malignancy"] or 0.0), entry.line["index"]),
        )
        without = sorted(
            (entry for entry in self._entries if not entry.line["nodule_found"]),
            key=lambda entry: entry.line["index"],
        )
        probabilities = [entry.line["malignancy"] or 0.0 for entry in with_nodule]
        stream = _template().stream(
            facts=facts,
            failures=sorted(self._failures, key=lambda line: line["index"]),
            with_nodule=self._cards(with_nodule, first=1),
            n_with_nodule=len(with_nodule),
            without_nodule=self._cards(without, first=len(with_nodule) + 1),
            n_without_nodule=len(without),
            index=[
                {"number": number, "line": entry.line}
                for number, entry in enumerate((*with_nodule, *without), 1)
            ],
            bins=_histogram(probabilities),
            colours={
                "outline": _css(OUTLINE_RGB),
                "corner": _css(CORNER_RGB),
                "malignant": _css(MALIGNANT_RGB),
                "benign": _css(BENIGN_RGB),
            },
        )
        unfinished = path.with_name(path.name + ".part")
        with unfinished.open("wb") as file:
            # A path that is no UTF-8 has surrogates, which HTML cannot carry.
            stream.dump(file, encoding="utf-8", errors="replace")
        unfinished.replace(path)

    def _cards(self, entries: Sequence[_Entry], first: int) -> Iterator[Card]:
        for number, entry in enumerate(entries, first):
            line = entry.line
            cells = [value for row in line["evidence"] or () for value in row]
            yield Card(
                number=number,
                line=line,
                name=PurePath(line["source"]).name,
                pictures={name: self._data_uri(at) for name, at in entry.pictures.items()},
                width_px=entry.width_px,
                height_px=entry.height_px,
                groups=_figure_groups(line["morphology"]),
                evidence_range=f"{_signed(min(cells))} to {_signed(max(cells))}" if cells else "",
            )

    def _data_uri(self, spooled: _Spooled) -> str:
        self._spool.seek(spooled.offset)
        content = self._spool.read(spooled.size_bytes)
        return f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"


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


def _histogram(probabilities: Sequence[float]) -> list[int]:
    counts = [0] * _BINS
    for probability in probabilities:
        counts[min(_BINS - 1, int(probability * _BINS))] += 1
    return counts


def _signed(value: float) -> str:
    # Rounded first and 0 added, so that nothing is shown as minus 0.
    return f"{round(value, 1) + 0.0:+.1f}".replace("-", "\N{MINUS SIGN}")


def _percent(share: float) -> str:
    """Return whole percent; never 0 or 100, which no network can know."""
    if share < 0.01:
        return "<1"
    return ">99" if share > 0.99 else f"{100 * share:.0f}"


def _css(rgb: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("thyroid_client"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["percent"] = _percent
    return environment.get_template("report.html")
