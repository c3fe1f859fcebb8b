"""The suppression list: which addresses get no more mail.

It lies in the ledger's store, and knows no address, only keys of them. Workers
keep a copy and ask for its changes, so that a mail costs no question.

`LedgerUnavailableError` means that the store is in trouble, and that a change
may have been made: the same call may be made again. No method takes longer than
about ten seconds before it raises.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from postman.core.suppression import Suppression

__all__ = ["Changes", "Suppressions"]


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of what is new on the list."""

    suppressions: Sequence[Suppression]
    """Each as it is now, lifted and expired ones too, in the order of their changes; some may have been told before."""
    cursor: str
    """For the next question; it may be asked with again, and by another process."""
    has_more: bool = False
    """Whether to ask on at once; where not, all was told that there is."""


class Suppressions(Protocol):
    """See the module. Of a lifted one *since* is when it was lifted."""

    async def put(self, suppression: Suppression) -> None:
        """Put an address on the list, or renew it.

        One that stands there for longer, or for good, is not shortened; the reason told is then the first one's. One
        that was lifted is put there anew only by what happened after that, or by a person.
        """
        ...

    async def lift(self, key: str) -> Suppression | None:
        """Take an address off the list; return what stood there, None where it does not stand there."""
        ...

    async def find(self, key: str) -> Suppression | None:
        """Return what the list has under *key*, expired or lifted too; None for nothing."""
        ...

    async def changes(self, cursor: str = "") -> Changes:
        """Return what changed since the answer that gave *cursor*; with an empty one, what there is.

        Nothing is left out, whatever commits late; what expired, or was lifted, more than a day ago may be gone.
        """
        ...

    async def ensure(self) -> None:
        """Make what is missing (tables); idempotent."""
        ...

    async def aclose(self) -> None:
        """Close; every later call but this one may fail."""
        ...
