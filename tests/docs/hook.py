"""What MkDocs is told of pages that lie outside `docs/`: they come along, and links lead to them.

In the repository a page links to files as they lie there, so that it can be
read anywhere. In the site everything from outside lies below `outside/`, under
its own path; a link to a folder without a page is none there.
"""

import os.path
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = ["PAGES_OUTSIDE", "ROOT", "on_files", "on_page_markdown", "pointed"]

ROOT: Final = Path(__file__).parents[2]

PAGES_OUTSIDE: Final = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "examples/README.md", "terraform/README.md")

_LINK: Final = re.compile(r"(\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)\s]+)\)")
_FENCE: Final = re.compile(r"^```.*?^```$|`[^`\n]+`\]?|<!--.*?-->", re.DOTALL | re.MULTILINE)
_DOCS: Final = "docs/"
_OUTSIDE: Final = "outside/"


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Take in the pages from outside, and each file from outside that a page links to."""
    from mkdocs.structure.files import File

    for path in sorted(_wanted()):
        files.append(File.generated(config, f"{_OUTSIDE}{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Point the page's links to where their files lie in the site."""
    return pointed(markdown, page.file.src_uri)


def pointed(markdown: str, page: str) -> str:
    """Return *markdown* of the site's *page* with links as they must be in the site."""

    def link(match: re.Match[str]) -> str:
        text, target = match.groups()
        if "://" in target or target.startswith(("#", "mailto:")):
            return match[0]
        path, hash_, anchor = target.partition("#")
        found = _in_site(_resolved(_in_repository(page), path))
        if found is None:
            return text[1:-1]
        return f"{text}({os.path.relpath(found, PurePosixPath(page).parent)}{hash_}{anchor})"

    return _LINK.sub(link, markdown)


def _wanted() -> set[str]:
    pages = {*PAGES_OUTSIDE, *(str(path.relative_to(ROOT)) for path in (ROOT / _DOCS).rglob("*.md"))}
    found = set(PAGES_OUTSIDE)
    for page in pages:
        for _, target in _LINK.findall((ROOT / page).read_text(encoding="utf-8")):
            path = "" if "://" in target else _resolved(page, target.partition("#")[0])
            if not path.startswith(_DOCS) and (ROOT / path).is_file():
                found.add(path)
    return found


def _in_repository(page: str) -> str:
    return page.removeprefix(_OUTSIDE) if page.startswith(_OUTSIDE) else _DOCS + page


def _resolved(page: str, target: str) -> str:
    return os.path.normpath(PurePosixPath(page).parent / target) if target else page


def _in_site(path: str) -> str | None:
    if (ROOT / path).is_dir():
        path = f"{path}/index.md"
        if not (ROOT / path).exists():
            return None
    return path.removeprefix(_DOCS) if path.startswith(_DOCS) else _OUTSIDE + path
