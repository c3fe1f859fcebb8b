"""The list of decisions, from the first lines of their pages."""

from typing import Final

from tests.docs.hook import ROOT

__all__ = ["FOLDER", "decisions"]

FOLDER: Final = ROOT / "docs" / "decisions"


def decisions() -> str:
    """Return the table."""
    pages = sorted((path for path in FOLDER.glob("*.md") if path.name[0].isdigit()), reverse=True)
    rows = [f"| {path.name[:10]} | [{_title(path.read_text(encoding='utf-8'))}]({path.name}) |" for path in pages]
    return "\n".join(["| date | decision |\n|---|---|", *rows])


def _title(page: str) -> str:
    return page.split("\n", 1)[0].removeprefix("# ")
