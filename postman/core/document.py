"""The providers' document as its store keeps it: a text with a number, and who changed what when.

The text is TOML, as in a file (`postman.config.providers`). Every change raises
the number by one; the store refuses one that was made from an older number.
"""

from dataclasses import dataclass, field, replace
from typing import Final

__all__ = ["MOST_CHANGES", "Change", "Document"]

MOST_CHANGES: Final = 50
"""So many of the latest changes are kept with the document."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the document."""

    number: int
    """That of the document which it made."""
    by: str
    """Who made it, as that person's system names him."""
    at: float
    """Seconds since 1970, by the clock of who made it."""
    what: str
    """In words; never with a key."""


@dataclass(frozen=True, slots=True)
class Document:
    """The document at one moment; `Document()` is what was there before the first."""

    text: str = field(default="", repr=False)
    number: int = 0
    changes: tuple[Change, ...] = ()
    """The latest, oldest first."""

    def change(self, text: str, *, by: str, at: float, what: str) -> "Document":
        """Return the next one, with *text* in the place of this one's."""
        made = Change(self.number + 1, by, at, what)
        return replace(self, text=text, number=made.number, changes=(*self.changes, made)[-MOST_CHANGES:])
