"""`report.html`: one file, nothing from outside, in order, harmless names, bounded memory."""

from __future__ import annotations

import base64
import io
import tracemalloc
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from html_page import Page
from thyroid_client import ImageRejected, Screening, ScreenResult, Timings
from thyroid_client._answers import read_answer
from thyroid_client._pictures import Pictures, report_pictures
from thyroid_client.figures import MEANINGS
from thyroid_client.report import Report, RunFacts
from thyroid_client.results import Files, ResultLine, result_line

FACTS = RunFacts(
    started=datetime(2030, 5, 17, 9, 30, tzinfo=timezone.utc),
    duration_s=12.34,
    address="grpcs://triton.example:8001",
    model_versions={"resnet18": "7", "transunet": "4"},
    client_version="1.2.3",
    interrupted=False,
    planned=6,
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


def failed(index: int, source: str, message: str) -> ResultLine:
    return result_line(ScreenResult(index, source, None, ImageRejected(message)), NO_FILES)


def write(report: Report, folder: Path, facts: RunFacts = FACTS) -> Page:
    report.write(folder / "report.html", facts)
    assert sorted(path.name for path in folder.iterdir()) == ["report.html"]
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture
def page(tmp_path: Path, fake: SimpleNamespace) -> Page:
    with Report(tmp_path) as report:
        low = fake.NODULE.but(malignancy=0.004, forest_malignancy=0.6, decision=1)
        add(report, 0, "in/low.png", low, fake)
        add(report, 1, "in/none.png", fake.NO_NODULE, fake)
        report.add(failed(2, "in/bad.png", "no image: send one"), None)
        add(report, 3, "in/high.png", fake.NODULE.but(malignancy=0.93), fake)
        add(report, 4, "in/certain.png", fake.NODULE.but(malignancy=1.0), fake)
        report.add(failed(5, "in/worse.png", "nothing: send something"), None)
        return write(report, tmp_path)


def test_nothing_comes_from_outside(page: Page) -> None:
    assert not page.all("script")
    assert not page.all("link")
    assert not page.all("iframe")
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in {"src", "href"}:
                assert value is not None
                assert value.startswith(("data:image/jpeg;base64,", "#")), value[:60]
            assert "url(" not in (value or "")
    (policy,) = (m for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_failures_first_then_highest_first_then_no_nodule(page: Page) -> None:
    assert [text for text in page.headings if ".png" in text or "screened" in text] == [
        "Could not be screened 2",
        "1 certain.png",
        "2 high.png",
        "3 low.png",
        "none.png",
    ]
    text = " ".join(page.text)
    assert text.index("in/bad.png") < text.index("in/worse.png")
    assert "no image: send one" in text


def test_each_picture_is_a_jpeg_of_the_size_it_is_said_to_have(page: Page) -> None:
    images = page.all("img")
    assert len(images) == 3 * 3 + 1  # three of each nodule, one of the image without
    for attributes in images:
        source = attributes["src"]
        assert source is not None
        content = base64.b64decode(source.partition("base64,")[2], validate=True)
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as picture:
            picture.load()
            assert [str(side) for side in picture.size] == [
                attributes["width"],
                attributes["height"],
            ]
        assert attributes["loading"] == "lazy"
        assert attributes["alt"]


def test_the_summary_says_how_many_and_by_what(page: Page) -> None:
    text = " ".join(" ".join(page.text).split())
    assert "Research use only. Not a medical device, not for diagnosis." in text
    for words in (
        "6 images",
        "2 Refer",
        "0 Uncertain",
        "0 Out of distribution",
        "1 Routine",
        "1 No nodule",
        "2 could not be screened",
        "17 May 2030, 09:30 UTC",
        "12.3 s",
        "server grpcs://triton.example:8001",
        "thyroid-screen 1.2.3",
        "resnet18 7, transunet 4",
    ):
        assert words in text, words


def test_probabilities_never_claim_certainty(page: Page) -> None:
    text = " ".join(page.text)
    assert [text.count(shown) for shown in (">99", "93", "<1")] == [2, 2, 2]  # index and card
    assert "100 percent" not in str(page.tags)


def test_every_figure_stands_with_its_unit_and_meaning(page: Page) -> None:
    text = " ".join(page.text)
    for meaning in MEANINGS.values():
        assert text.count(meaning.label) >= 3
        assert text.count(meaning.text) >= 3
    assert "1 px" in text


def test_names_of_files_are_harmless(tmp_path: Path, fake: SimpleNamespace) -> None:
    bad = "<script>alert(1)</script>"
    attribute = '"><img src=x onerror="alert(2)">.png'
    with Report(tmp_path) as report:
        add(report, 0, f"in/{bad}.png", fake.NODULE, fake)
        add(report, 1, f"in/{attribute}", fake.NO_NODULE, fake)
        report.add(failed(2, f"in/{bad}", f"the server says {bad}"), None)
        page = write(report, tmp_path)
    assert not page.all("script")
    assert not [a for a in page.all("img") if "onerror" in a]
    text = "".join(page.text)
    assert f"in/{bad}.png" in text
    assert f"the server says {bad}" in text
    assert f"in/{attribute}" in text


def test_names_that_are_no_utf8(tmp_path: Path, fake: SimpleNamespace) -> None:
    with Report(tmp_path) as report:
        add(report, 0, "in/\udcff.png", fake.NODULE, fake)
        page = write(report, tmp_path)
    assert "in/?.png" in "".join(page.text)


def test_an_image_that_could_not_be_drawn_keeps_its_figures(
    tmp_path: Path, fake: SimpleNamespace
) -> None:
    with Report(tmp_path) as report:
        for index, said in enumerate((fake.NODULE, fake.NO_NODULE)):
            line = result_line(ScreenResult(index, "x.png", screening_of(said), None), NO_FILES)
            report.add(line, None)
        page = write(report, tmp_path)
    text = "".join(page.text)
    assert text.count("The file could not be read again to draw it.") == 2
    assert "Height to width" in text
    assert not page.all("img")


def test_a_run_without_any_result(tmp_path: Path) -> None:
    facts = RunFacts(**{**vars(FACTS), "interrupted": True, "model_versions": {}})
    with Report(tmp_path) as report:
        page = write(report, tmp_path, facts)
    text = " ".join(" ".join(page.text).split())
    assert "Interrupted after 0 of 6 images" in text
    assert "unknown, none has answered" in text


def test_memory_does_not_grow_with_the_number_of_images(
    tmp_path: Path, fake: SimpleNamespace
) -> None:
    count, size_bytes = 40, 500_000
    line = result_line(ScreenResult(0, "x.png", screening_of(fake.NODULE), None), NO_FILES)
    pictures = Pictures(*(bytes(size_bytes),) * 3, width_px=10, height_px=10)
    tracemalloc.start()
    with Report(tmp_path) as report:
        for _ in range(count):
            report.add(line, pictures)
        report.write(tmp_path / "report.html", FACTS)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "report.html").stat().st_size > 3 * count * size_bytes
    assert peak_bytes < 15 * size_bytes


@pytest.mark.parametrize(("height", "width"), [(64, 384), (384, 64), (64, 64), (3000, 4000)])
def test_pictures_of_any_shape_fit_the_page(fake: SimpleNamespace, height: int, width: int) -> None:
    box = (width // 4, height // 4, width // 2, height // 2)
    said = fake.NODULE.but(mask=fake.box_mask(height, width, box), box=box)
    grey = np.full((height, width), 100, np.uint8)
    pictures = report_pictures(grey, screening_of(said))
    assert pictures.width_px <= 480
    assert pictures.height_px <= 400
    assert abs(pictures.width_px / pictures.height_px / (width / height) - 1) < 0.03
    assert pictures.evidence is not None


def test_pictures_of_another_image_are_refused(fake: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="the very image that was screened"):
        report_pictures(fake.grey_image(height=90), screening_of(fake.NODULE))
