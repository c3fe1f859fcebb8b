"""Records: the ledger read over many mails, for the people who look after them.

It is beside the ledger, which answers for one mail at a time, since only those
who look need it: no worker does, and it decides nothing. What it tells was true
a moment ago; a mail that moves while one turns pages may be missed or seen
twice, one that rests is seen once. It costs by what it returns, not by how many
mails the ledger has; no method returns more than 500. What a newer postman wrote, and what is damaged, is left
out and logged once. Every method raises `LedgerUnavailableError` within about
ten seconds where the store cannot be reached.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from postman.core.entry import Entry
from postman.core.ids import MailId
from postman.core.shelf import Shelf
from postman.ports.opening import Cluster

__all__ = ["OpenRecords", "Page", "Record", "Records"]


@dataclass(frozen=True, slots=True)
class Record:
    """One mail, and what the ledger knows of it."""

    mail_id: MailId
    entry: Entry


@dataclass(frozen=True, slots=True)
class Page:
    """Some records, and where the next page begins."""

    records: Sequence[Record]
    after: str = ""
    """Given to `page` it brings the next ones; empty: these were the last."""


class Records(Protocol):
    """See the module; one for each process, used from one event loop."""

    async def counts(self) -> Mapping[Shelf, int]:
        """Return how many mails lie on each shelf; an empty one is there with 0."""
        ...

    async def page(self, shelf: Shelf, *, after: str = "", limit: int = 50) -> Page:
        """Return at most *limit* (1 to 500) mails of *shelf*, newest first.

        *after* is what the page before told; one that is none brings the first page.
        """
        ...

    async def by_message_id(self, message_id: str, *, limit: int = 20) -> Sequence[Record]:
        """Return mails that a provider took under *message_id*, whichever provider it was; none for an empty id."""
        ...

    async def by_recipient(self, tag: str, *, limit: int = 50) -> Sequence[Record]:
        """Return mails to the address whose `address_tag` is *tag*, newest first among those found.

        Of a mail with more than twenty recipients only the first twenty are known.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections; the ledger stays as it is."""
        ...


OpenRecords = Callable[[str, Cluster], Records]
"""An entry point of `postman.records`: given what follows the scheme in the ledger's URL; may raise `ConfigError`."""
