"""Many mails of a ledger in this process's memory, gone through one by one."""

from collections.abc import Mapping, Sequence

from postman.adapters._pages import at_most, read_place, write_place
from postman.adapters.memory.ledger import MemoryLedger, open_ledger
from postman.core.shelf import Shelf, shelf_of
from postman.ports.opening import Cluster
from postman.ports.records import Page, Record

__all__ = ["MemoryRecords", "open_records"]


class MemoryRecords:
    """Reads *ledger*, whatever its size: for tests."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def counts(self) -> Mapping[Shelf, int]:
        shelves = [shelf_of(record.entry) for record in self._records()]
        return {shelf: shelves.count(shelf) for shelf in Shelf}

    async def page(self, shelf: Shelf, *, after: str = "", limit: int = 50) -> Page:
        limit = at_most(limit)
        there = [record for record in self._records() if shelf_of(record.entry) is shelf]
        place = _place(after)
        if place is not None:
            there = [record for record in there if _order(record) < place]
        records = there[:limit]
        return Page(records, write_place(repr(records[-1].entry.since), records[-1].mail_id) if there[limit:] else "")

    async def by_message_id(self, message_id: str, *, limit: int = 20) -> Sequence[Record]:
        found = [record for record in self._records() if message_id and record.entry.message_id == message_id]
        return found[: at_most(limit)]

    async def by_recipient(self, tag: str, *, limit: int = 50) -> Sequence[Record]:
        return [record for record in self._records() if tag in record.entry.recipients][: at_most(limit)]

    async def aclose(self) -> None:
        """Nothing to close; the ledger is another's."""

    def _records(self) -> Sequence[Record]:
        """Newest first."""
        records = [Record(mail_id, entry) for mail_id, entry in self._ledger.entries.items()]
        return sorted(records, key=_order, reverse=True)


def _place(after: str) -> tuple[float, str] | None:
    place = read_place(after)
    try:
        return (float(place[0]), place[1]) if place else None
    except ValueError:
        return None


def _order(record: Record) -> tuple[float, str]:
    return record.entry.since, record.mail_id


def open_records(rest: str, cluster: Cluster) -> MemoryRecords:
    """Return the records of a new, empty ledger. Raises `ConfigError` if *rest* is not empty."""
    return MemoryRecords(open_ledger(rest, cluster))
