"""How many mails wait for a person, in words and for programs."""

from collections.abc import Mapping
from dataclasses import dataclass

from postman.core.shelf import Shelf
from postman.errors import LedgerUnavailableError
from postman.ports.records import Records

__all__ = ["Shelved", "look_at_shelves"]


@dataclass(frozen=True, slots=True)
class Shelved:
    """What lies on the shelves at a moment; as text it is two sentences."""

    counts: Mapping[Shelf, int] | None
    """None where nobody counts."""
    problem: str = ""
    """Why they could not be counted now; empty where they were, or where this kind of ledger never is."""

    @property
    def doubts(self) -> int | None:
        """Mails that may have been sent, and are still asked for."""
        return None if self.counts is None else self.counts[Shelf.IN_DOUBT]

    @property
    def dead(self) -> Mapping[str, int] | None:
        """Dead letters by shelf, without the empty ones."""
        if self.counts is None:
            return None
        return {str(shelf): count for shelf, count in self.counts.items() if count and shelf is not Shelf.IN_DOUBT}

    def __str__(self) -> str:
        if self.counts is None:
            return f"doubts and dead letters: {self.problem or 'not counted by this kind of ledger'}"
        dead = ", ".join(f"{count} {name}" for name, count in (self.dead or {}).items())
        return f"doubts: {self.doubts or 'none'}; dead letters: {dead or 'none'}"


async def look_at_shelves(records: Records | None) -> Shelved:
    """Count; never raises, since whoever looks at more wants to see the rest."""
    if records is None:
        return Shelved(None)
    try:
        return Shelved(await records.counts())
    except LedgerUnavailableError as error:
        return Shelved(None, str(error))
