"""The runbook as whoever is on call reads it: a section of an alert, and the commands that stand in it."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["RUNBOOK", "Runbook", "command_of"]

RUNBOOK: Final = Path(__file__).parents[2] / "docs" / "runbook.md"

_HEADING: Final = re.compile(r"^## (.+)$", re.MULTILINE)
_QUOTED: Final = re.compile(r"`(postman [^`]+)`")
_IN_BLOCK: Final = re.compile(r"^\$? ?(postman [^#\n]+?)\s*(?:#.*)?$", re.MULTILINE)


class Runbook:
    """Its sections by their names, and what a reader may type."""

    def __init__(self, text: str) -> None:
        parts = _HEADING.split(text)
        self.sections: Mapping[str, str] = dict(zip(parts[1::2], parts[2::2], strict=True))

    def commands(self, section: str) -> Sequence[str]:
        """Return the commands in *section*, in their order, with the words that stand for something as they are."""
        text = self.sections[section]
        return [" ".join(found.split()) for found in (*_QUOTED.findall(text), *_IN_BLOCK.findall(text))]

    def says(self, section: str, words: str) -> bool:
        """Whether *words* stand in *section*, however its lines are broken."""
        return " ".join(words.split()) in " ".join(self.sections[section].split())


def command_of(words: str, given: Mapping[str, str]) -> list[str]:
    """Return the arguments of the command *words*, with what is *given* in the places of ID, R, NAME and the like."""
    return [given.get(part, part) for part in shlex.split(words)[1:]]
