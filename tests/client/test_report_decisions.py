"""Decisions in `report.html`: in words and first, in order, legible, and no more than is known."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from html_page import Page
from thyroid_client import Decision, Screening, ScreenResult, Timings
from thyroid_client._answers import read_answer
from thyroid_client._pictures import report_pictures
from thyroid_client.report import Report, RunFacts
from thyroid_client.results import Files, result_line

FACTS = RunFacts(
    started=datetime(2030, 5, 17, 9, 30, tzinfo=timezone.utc),
    duration_s=1.0,
    address="grpc://localhost:8001",
    model_versions={},
    client_version="1.2.3",
    interrupted=False,
    planned=7,
)
NO_FILES = Files(mask_file=None, overlay_file=None, evidence_file=None)


def screening_of(said: Any) -> Screening:
    return Screening(
        **vars(read_answer(said.answer())), model_versions={}, timings=Timings(1, 2, 3, 1)
    )


def add(report: Report, index: int, source: str, said: Any, fake: SimpleNamespace) -> None:
    screening = screening_of(said)
    line = result_line(ScreenResult(index, source, screening, None), NO_FILES)
    report.add(line, report_pictures(fake.grey_image(index), screening))


def write(report: Report, folder: Path) -> Page:
    report.write(folder / "report.html", FACTS)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture
def decided(tmp_path: Path, fake: SimpleNamespace) -> Page:
    """One or two of each decision, the least urgent first."""
    no_number = fake.FOREIGN_AND_EMPTY.but(ood_score=1.0001)
    with Report(tmp_path) as report:
        for index, (name, said) in enumerate(
            {
                "none": fake.NO_NODULE,
                "routine": fake.NODULE.but(decision=1, malignancy=0.9),
                "strange": fake.FOREIGN,
                "stranger": no_number,
                "less": fake.NODULE.but(decision=2, malignancy=0.2),
                "more": fake.NODULE.but(decision=2, malignancy=0.3, forest_malignancy=0.8125),
                "refer": fake.NODULE.but(decision=3, malignancy=0.1),
            }.items()
        ):
            add(report, index, f"in/{name}.png", said, fake)
        return write(report, tmp_path)


def test_the_decision_orders_the_page_and_not_the_probability(decided: Page) -> None:
    """What the server decided is not decided again."""
    assert [text for text in decided.headings if "images" not in text][1:] == [
        "Refer 1, to be followed up",
        "1 refer.png",
        "Uncertain 2, to be followed up, too",
        "2 more.png",
        "3 less.png",
        "Out of distribution 2, not judged: look at the image",
        "4 strange.png",
        "5 stranger.png",
        "Routine 1",
        "6 routine.png",
        "No nodule 1",
        "none.png",
    ]


def article(page: Page, number: int) -> str:
    return page.articles[f"image-{number}"]


def test_each_image_says_its_decision_in_words_before_all_else(decided: Page) -> None:
    titles = ["Refer", *["Uncertain"] * 2, *["Out of distribution"] * 2, "Routine", "No nodule"]
    assert len(decided.articles) == len(titles)
    for number, title in enumerate(titles, 1):
        assert article(decided, number).startswith(title), number


def test_out_of_distribution_shows_what_was_found_and_no_number(decided: Page) -> None:
    found, empty = article(decided, 4), article(decided, 5)
    assert "No probability is given. Out-of-distribution score 2.50, above the limit of 1." in found
    assert "score 1.01, above the limit of 1." in empty  # never shown as the limit itself
    assert "Outline of what was found, nodule or not" in found
    assert "Image: nothing was outlined in it" in empty
    for text in (found, empty):
        for word in ("Second opinion", "Evidence", "Height to width", "sign of malignancy", "%"):
            assert word not in text
    text = " ".join(decided.text)
    assert text.count("Out-of-distribution score") == 2  # and nowhere where it decides nothing


def test_the_second_opinion_stands_beside_the_first(decided: Page) -> None:
    for number, first, second in ((1, "10 %", "50 %"), (2, "30 %", "81 % far apart")):
        text = article(decided, number)
        assert first in text.partition("Second opinion")[0]
        assert text.partition("Second opinion ")[2].startswith(second)
    assert "far apart" not in article(decided, 1) + article(decided, 3)


def test_without_pictures_an_image_out_of_distribution_is_told_all_the_same(
    tmp_path: Path, fake: SimpleNamespace
) -> None:
    with Report(tmp_path) as report:
        screening = screening_of(fake.FOREIGN)
        report.add(result_line(ScreenResult(0, "x.png", screening, None), NO_FILES), None)
        page = write(report, tmp_path)
    assert "No probability is given." in article(page, 1)
    assert "The file could not be read again to draw it." in article(page, 1)


def luminance(colour: str) -> float:
    """Relative luminance of sRGB, WCAG 2.2."""
    digits = colour.removeprefix("#")
    pairs = [c * 2 for c in digits] if len(digits) == 3 else [digits[i : i + 2] for i in (0, 2, 4)]
    shares = [int(pair, 16) / 255 for pair in pairs]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_decisions_can_be_read_on_screen_in_the_dark_and_on_paper(
    decided: Page, tmp_path: Path
) -> None:
    style = (tmp_path / "report.html").read_text().partition("</style>")[0]
    schemes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(schemes) == 3
    for colours in schemes:
        for decision in Decision:
            assert contrast(colours[decision.label], colours[f"{decision.label}-ink"]) >= 7
            assert contrast(colours[f"{decision.label}-line"], colours["card"]) >= 3
