"""Parts of a page that a program writes: what stands between two markers."""

import re
from pathlib import Path

__all__ = ["part", "replace_part"]


def part(page: str, name: str) -> str:
    """Return what stands between the markers of *name* in the text *page*; `ValueError` where they are not there."""
    found = re.search(_pattern(name), page, re.DOTALL)
    if found is None:
        raise ValueError(f"the page has no part {name}")
    return found[2].strip()


def replace_part(path: Path, name: str, content: str) -> None:
    """Put *content* between the markers of *name*; `ValueError` where they are not there."""
    page = path.read_text(encoding="utf-8")
    part(page, name)
    written = re.sub(_pattern(name), lambda found: f"{found[1]}\n{content}\n{found[3]}", page, flags=re.DOTALL)
    path.write_text(written, encoding="utf-8")


def _pattern(name: str) -> str:
    return rf"(<!-- begin {re.escape(name)} -->)(.*?)(<!-- end {re.escape(name)} -->)"
