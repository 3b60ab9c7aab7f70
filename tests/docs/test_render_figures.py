"""The blocks of the documents: filled from their files, and held to them."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

DOCUMENTS = ("README.md", "docs/model_card.md", "docs/performance.md")


@pytest.fixture(scope="module")
def render_figures(checkout: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "render_figures", checkout / "docs" / "render_figures.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(checkout: Path, tmp_path: Path) -> Path:
    """The documents and their JSON, to be changed."""
    for name in DOCUMENTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(checkout / name, tmp_path / name)
    shutil.copytree(checkout / "docs" / "figures", tmp_path / "docs" / "figures")
    return tmp_path


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_figure_changed_by_hand_is_found_and_mended(
    render_figures: ModuleType, copy: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert render_figures.main(check=True, checkout=copy) == 0
    text = (copy / name).read_text()
    blocks = list(re.finditer(r"<!-- figures:.*?<!-- /figures -->", text, re.DOTALL))
    assert blocks
    for block in blocks:
        body = block[0].removesuffix("<!-- /figures -->")
        at = block.start() + max(match.start() for match in re.finditer(r"\w", body))
        (copy / name).write_text(f"{text[:at]}{'7' if text[at] != '7' else '8'}{text[at + 1 :]}")
        assert render_figures.main(check=True, checkout=copy) == 1
        assert name in capsys.readouterr().out
        assert render_figures.main(check=False, checkout=copy) == 0
        assert (copy / name).read_text() == text


def test_a_figure_changed_in_a_file_is_found(render_figures: ModuleType, copy: Path) -> None:
    path = copy / "docs" / "figures" / "performance" / "suite.json"
    text = path.read_text()
    changed, count = re.subn(
        r'("sequential_per_s": \{\s*"value": )[\d.]+', r"\g<1>1.25", text, count=1
    )
    assert count == 1
    path.write_text(changed)
    assert render_figures.main(check=True, checkout=copy) == 1
    render_figures.main(check=False, checkout=copy)
    assert "| 1.25 (" in (copy / "docs" / "performance.md").read_text()


@pytest.mark.parametrize(
    "block",
    [
        "<!-- figures:no_such_table cross_validation.json -->\n<!-- /figures -->\n",
        "<!-- figures:segmentation -->\n<!-- /figures -->\n",
        "<!-- figures:segmentation cross_validation.json -->\n| without an end |\n",
    ],
)
def test_a_block_that_cannot_be_filled_is_refused(render_figures: ModuleType, block: str) -> None:
    with pytest.raises(ValueError, match=r"1 blocks begin by .* and 0 can be filled"):
        render_figures.render(block)


def test_pictures_are_drawn_from_the_file_as_it_is(
    render_figures: ModuleType, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = copy / "docs" / "figures"
    for name in render_figures.PICTURES:
        assert render_figures.is_drawn(name, figures)
        assert ElementTree.parse(figures / name).getroot().tag.endswith("svg")
    curve = figures / "performance" / "curve.svg"
    assert ">knee<" in curve.read_text(encoding="utf-8")
    source = figures / "performance" / "suite.json"
    source.write_text(source.read_text() + "\n")  # another file, the same figures
    assert render_figures.main(check=True, checkout=copy) == 1
    assert "docs/figures/performance/curve.svg differs" in capsys.readouterr().out
    curve.unlink()
    assert render_figures.main(check=False, checkout=copy) == 0
    assert render_figures.main(check=True, checkout=copy) == 0
    assert ">knee<" in curve.read_text(encoding="utf-8")


def test_every_picture_is_shown_somewhere(render_figures: ModuleType, checkout: Path) -> None:
    text = (checkout / "docs" / "performance.md").read_text()
    assert all(f"](figures/{name})" in text for name in render_figures.PICTURES)


def test_every_table_is_shown_somewhere(render_figures: ModuleType, checkout: Path) -> None:
    texts = [(checkout / name).read_text() for name in DOCUMENTS]
    shown = {table for text in texts for table in re.findall(r"<!-- figures:(\w+) ", text)}
    assert shown == set(render_figures.RENDERERS)
