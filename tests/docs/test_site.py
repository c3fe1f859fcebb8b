"""The site is built without a warning, leads everywhere, and fetches nothing."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest

from tests.docs.hook import PAGES_OUTSIDE, ROOT, pointed

pytest.importorskip("mkdocs", reason="mkdocs (not installed)")

_MENTION: Final = re.compile(r"(?<![\w/.])docs/([\w-]+\.(?:md|json|pml))(?:#([\w-]+))?")
_SOURCES: Final = ("postman/**/*.py", "terraform/**/*.tf", "deploy/*", "emulator.sh", "examples/**/*.md")


class _Fetched(HTMLParser):
    """What a browser loads by itself for a page, and the anchors that there are."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.classes: set[str] = set()
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.add(given.get("id", ""))
        self.classes.update(given.get("class", "").split())
        if tag == "link" and given.get("rel") not in {"canonical", "next", "prev"}:
            self.addresses.append(given.get("href", ""))
        elif tag != "a":
            self.addresses += [given[name] for name in ("src", "srcset", "data") if name in given]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `./emulator.sh docs` builds it; with `--quiet` no warning would count."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environ = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def read(site: Path) -> dict[str, _Fetched]:
    """Each page of the site, by its path."""
    pages = {str(path.relative_to(site)): _Fetched() for path in site.rglob("*.html")}
    for name, page in pages.items():
        page.feed((site / name).read_text(encoding="utf-8"))
    return pages


def test_every_page_of_the_repository_is_in_the_site(site: Path) -> None:
    pages = {*(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md"))}
    pages |= {f"outside/{page}" for page in PAGES_OUTSIDE}

    assert len(pages) > 40
    assert [page for page in pages if not (site / re.sub(r"(README)?\.md$", _html, page)).exists()] == []


def test_every_page_is_reached_from_the_first_one(site: Path) -> None:
    """By what a reader can click, and not only by the search."""
    seen, ahead = set(), [site / "index.html"]
    while ahead:
        page = ahead.pop()
        seen.add(page)
        links = re.findall(r'<a [^>]*href="?([^"#?> ]+\.html)', page.read_text(encoding="utf-8"))
        ahead += [
            found for link in links if "://" not in link and (found := (page.parent / link).resolve()) not in seen
        ]

    assert {path.resolve() for path in site.rglob("*.html")} - seen == {site / "404.html"}


def test_a_page_fetches_nothing_from_elsewhere(read: dict[str, _Fetched]) -> None:
    addresses = {address for page in read.values() for address in page.addresses}

    assert any(address.endswith(".css") for address in addresses)
    assert [address for address in addresses if "//" in address] == []
    assert not any("mermaid" in page.classes for page in read.values())  # the theme would fetch what draws it


def test_styles_fetch_nothing_from_elsewhere(site: Path) -> None:
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]

    assert styles
    assert not any(re.search(r"(url\(|@import )['\"]?(https?:)?//", style) for style in styles)


def test_marks_for_programs_are_not_shown(site: Path) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.html"))

    assert not re.search(r"&lt;!-- ?(not run|begin|end)", text)


def test_what_the_code_names_of_the_documentation_is_there(site: Path, read: dict[str, _Fetched]) -> None:
    mentions = {
        (path, *found)
        for pattern in _SOURCES
        for path in ROOT.glob(pattern)
        if path.is_file() and "node_modules" not in path.parts
        for found in _MENTION.findall(path.read_text(encoding="utf-8", errors="replace"))
    }

    assert len(mentions) > 10
    for path, name, anchor in mentions:
        page = name.replace(".md", ".html")
        assert (site / page).exists(), f"{path} names docs/{name}"
        assert not anchor or anchor in read[page].ids, f"{path} names docs/{name}#{anchor}"


def test_links_lead_to_where_files_lie_in_the_site() -> None:
    text = "[a](../README.md#x) [b](mail.md) [c](https://a.example/README.md) [d](#x) [e](pictures) [f](decisions)"

    assert pointed(text, "publishing.md") == (
        "[a](outside/README.md#x) [b](mail.md) [c](https://a.example/README.md) [d](#x) e [f](decisions/index.md)"
    )
    assert (
        pointed("[a](docs/mail.md) [b](CONTRIBUTING.md)", "outside/README.md") == "[a](../mail.md) [b](CONTRIBUTING.md)"
    )
    assert pointed("[t](../docs/terraform.md)", "outside/terraform/README.md") == "[t](../../terraform.md)"


def _html(found: re.Match[str]) -> str:
    return "index.html" if found[1] else ".html"
