"""The runbook as pages: who is woken need not find the way to it.

It is `docs/runbook.md`, which an installed postman has beside this module.
"""

import re
from functools import cached_property
from pathlib import Path
from typing import Final

from markupsafe import Markup

__all__ = ["Runbook"]

_INSTALLED: Final = Path(__file__).with_name("runbook.md")
_IN_REPOSITORY: Final = Path(__file__).parents[3] / "docs" / "runbook.md"
_HEADING: Final = re.compile(r"<h([23])>([^<]*)</h\1>")
_LINK: Final = re.compile(r'<a href="(?!#)[^"]*">(.*?)</a>', re.DOTALL)
_WIDE: Final = (("<table>", '<table class="told" tabindex="0">'), ("<pre>", '<pre tabindex="0">'))
"""What may be wider than its place, and so must be reached by the keyboard to be scrolled."""


class Runbook:
    """The text, once somebody reads it. Its sections have the names of alerts."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or (_INSTALLED if _INSTALLED.exists() else _IN_REPOSITORY)

    @cached_property
    def html(self) -> Markup:
        """The whole as HTML, its sections with anchors; without links to other documents, which are not here."""
        from markdown_it import MarkdownIt  # late: it takes a while, and only readers of this page need it

        try:
            text = self._path.read_text(encoding="utf-8")
        except OSError:
            return Markup("<p>This postman was installed without its runbook: see docs/runbook.md.</p>")
        found = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
        found = _HEADING.sub(_anchored, found.replace("<h1>", '<h1 id="runbook">'))
        found = _LINK.sub(r"\1", found)
        for plain, reachable in _WIDE:
            found = found.replace(plain, reachable)
        return Markup(found)  # noqa: S704 — our own document, and the renderer escapes what it quotes


def _anchored(match: re.Match[str]) -> str:
    anchor = re.sub(r"[^a-z0-9_]+", "-", match[2].lower()).strip("-")
    return f'<h{match[1]} id="{anchor}" tabindex="-1">{match[2]}</h{match[1]}>'
