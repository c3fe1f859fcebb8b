"""Where mails wait that did not end well: the shelves that operators look at.

A mail lies on at most one, as its entry says; one that is free, being sent or
sent lies on none, nor does one whose dead letter somebody dropped.
"""

from enum import StrEnum
from typing import Final

from postman.core.entry import Entry, State
from postman.core.verdict import DeadReason

__all__ = ["OWN_REASONS", "Shelf", "dead_reason_of", "shelf_of"]


class Shelf(StrEnum):
    """Why a mail waits."""

    IN_DOUBT = "in_doubt"
    """It may have been sent, and its provider is still asked. Every other shelf holds dead letters."""
    HELD = "held"
    """It may have been sent, its owner chose `hold`, and a person decides: dead letters of the reason `in_doubt`."""
    REFUSED = "refused"
    EXPIRED = "expired"
    POISON = "poison"
    SUPPRESSED = "suppressed"

    @property
    def dead_reason(self) -> DeadReason | None:
        """The reason of its dead letters; None for what is not dead."""
        match self:
            case Shelf.IN_DOUBT:
                return None
            case Shelf.HELD:
                return DeadReason.IN_DOUBT
            case _:
                return DeadReason(self.value)


OWN_REASONS: Final = frozenset({DeadReason.EXPIRED, DeadReason.POISON, DeadReason.SUPPRESSED})
"""With these an entry's reason begins where no provider refused the mail."""


def dead_reason_of(entry: Entry) -> DeadReason:
    """Return the reason of a refused mail's dead letter."""
    name = entry.reason.partition(":")[0]
    return DeadReason(name) if name in OWN_REASONS else DeadReason.REFUSED


def shelf_of(entry: Entry) -> Shelf | None:
    """Return where a mail waits; None where it waits for nobody."""
    if entry.dropped:
        return None
    match entry.state:
        case State.IN_DOUBT:
            return Shelf.HELD if entry.parked else Shelf.IN_DOUBT
        case State.REFUSED:
            return Shelf(dead_reason_of(entry).value)
        case _:
            return None
