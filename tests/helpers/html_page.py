"""A page of HTML taken apart, for tests of what it shows."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = {"img", "meta", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """What a browser would make of the page, as far as the tests ask.

    Every tag has to be closed. `headings` are the texts of h2 and h3, and `articles` the texts of
    the articles by their id, both with single spaces; `text` is every piece of text as it stands.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.headings: list[str] = []
        self.articles: dict[str, str] = {}
        self.article = ""
        self.feed(text)
        self.close()
        assert self.open == []
        self.headings = [" ".join(heading.split()) for heading in self.headings]
        self.articles = {name: " ".join(words.split()) for name, words in self.articles.items()}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag in {"h2", "h3"}:
            self.headings.append("")
        if tag == "article":
            self.article = dict(attrs)["id"] or ""
            self.articles[self.article] = ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text.append(data)
        if {"h2", "h3"} & set(self.open):
            self.headings[-1] += data
        if "article" in self.open:
            self.articles[self.article] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]
