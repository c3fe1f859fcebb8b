"""Reads a page as a browser and a screen reader do, strictly enough to find what is broken."""

from collections import Counter
from html.parser import HTMLParser
from typing import Final

__all__ = ["Page", "problems_of"]

_VOID: Final = frozenset({"meta", "link", "input", "br", "hr", "img"})
_SHAPES: Final = frozenset({"rect", "line", "path", "circle"})
_LABELLED: Final = frozenset({"region", "navigation", "search"})


class Page(HTMLParser):
    """Counts elements and remembers attributes; *problems* are what no page may have."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.problems: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        if self._open:
            self.problems.append(f"not closed: {self._open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if len(given) < len(attrs):
            self.problems.append(f"an attribute twice: {tag}")
        self.elements.append((tag, given))
        self.problems.extend(f"inline {name} at {tag}" for name in given if name.startswith("on") or name == "style")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _SHAPES | _VOID:
            self.problems.append(f"closes itself: {tag}")
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"closes what is not open: {tag}")

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("script", "style") and data.strip():
            self.problems.append(f"inline {self._open[-1]}")
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [given for name, given in self.elements if name == tag]


def problems_of(text: str) -> list[str]:
    """Return what is wrong with a whole page."""
    page = Page(text)
    found = [*page.problems]
    ids = Counter(given["id"] for _, given in page.elements if "id" in given)
    found += [f"the id {name} stands {times} times" for name, times in ids.items() if times > 1]
    found += [
        f"{times} times {tag}" for tag in ("h1", "main", "header", "footer") if (times := len(page.all(tag))) != 1
    ]
    if page.all("html")[0].get("lang") != "en" or not text.startswith("<!doctype html>"):
        found.append("no language, or no doctype")
    labels = {given.get("for") for given in page.all("label")}
    inputs = [each for each in page.all("input") if each.get("type") != "hidden" and "aria-hidden" not in each]
    found += [f"no label: {each}" for each in inputs if each.get("id") not in labels]
    found += [f"no name: {each}" for each in page.all("nav") if not each.get("aria-label")]
    found += [f"no scope: {each}" for each in page.all("th") if "scope" not in each and "class" in each]
    for tag, given in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            found += [f"{tag}: {name} leads nowhere: {each}" for each in given.get(name, "").split() if each not in ids]
        if given.get("role") in _LABELLED and not (given.get("aria-label") or given.get("aria-labelledby")):
            found += [f"no name: {tag} {given}"] if given["role"] == "region" else []
        if tag == "svg" and given.get("role") != "img" and given.get("aria-hidden") != "true":
            found.append("a picture that is neither named nor hidden")
    tables = [each for each in page.all("table") if each.get("class") != "told"]
    if len(page.all("caption")) != len(tables):
        found.append("a table without a caption")
    return found
