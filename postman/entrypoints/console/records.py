"""Mails in doubt and dead letters, counted and listed, as far as the ledger can be read over many mails."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, Self

from postman import wiring
from postman.config import Settings
from postman.core.entry import Entry
from postman.entrypoints.console.knowledge import Knowledge, Known
from postman.ports.clock import Clock

__all__ = ["IN_DOUBT", "ListedMail", "Listing", "Shelves"]

IN_DOUBT = "in_doubt"
"""The shelf of mails that may have been sent; every other is a reason for which mails were given up."""


class ListedMail(Protocol):
    """One mail and what the ledger has of it."""

    @property
    def mail_id(self) -> str: ...

    @property
    def entry(self) -> Entry: ...


class Listing(Protocol):
    """Some mails, and where the next ones begin; *after* is empty at the end."""

    @property
    def records(self) -> Sequence[ListedMail]: ...

    @property
    def after(self) -> str: ...


class _Records(Protocol):
    async def counts(self) -> Mapping[Any, int]: ...

    async def page(self, shelf: Any, *, after: str = "", limit: int = 50) -> Listing: ...

    async def by_message_id(self, message_id: str, *, limit: int = 20) -> Sequence[ListedMail]: ...

    async def by_recipient(self, tag: str, *, limit: int = 50) -> Sequence[ListedMail]: ...

    async def aclose(self) -> None: ...


class Shelves:
    """The questions about many mails."""

    def __init__(self, records: _Records, knowledge: Knowledge) -> None:
        self._records = records
        self._knowledge = knowledge

    @classmethod
    def opened(cls, settings: Settings, knowledge: Knowledge, clock: Clock) -> Self | None:
        """Return what the ledger's adapter offers; None where it offers nothing of the kind."""
        opening: Callable[..., Any] | None = getattr(wiring, "open_records", None)
        records = None if opening is None else opening(settings, clock=clock)
        return None if records is None else cls(records, knowledge)

    async def counts(self) -> Known[Mapping[str, int]]:
        """Return how many mails lie on each shelf."""
        return await self._ask("counts", self._counts)

    async def page(self, shelf: str, after: str, limit: int) -> Known[Listing]:
        """Return some mails of *shelf*, newest first."""
        return await self._ask(("page", shelf, after, limit), lambda: self._page(shelf, after, limit))

    async def by_message_id(self, message_id: str) -> Known[Sequence[ListedMail]]:
        """Return the mails that a provider calls so."""
        return await self._ask(("message", message_id), lambda: self._records.by_message_id(message_id))

    async def by_recipient(self, tag: str) -> Known[Sequence[ListedMail]]:
        """Return the mails to the address whose tag it is."""
        return await self._ask(("recipient", tag), lambda: self._records.by_recipient(tag))

    async def aclose(self) -> None:
        """Close."""
        await self._records.aclose()

    async def _counts(self) -> Mapping[str, int]:
        return {str(shelf): count for shelf, count in (await self._records.counts()).items()}

    async def _page(self, shelf: str, after: str, limit: int) -> Listing:
        return await self._records.page(shelf, after=after, limit=limit)

    async def _ask(self, key: object, fetch: Callable[[], Awaitable[Any]]) -> Known[Any]:
        return await self._knowledge.ask(("records", key), fetch)
