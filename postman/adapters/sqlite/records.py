"""Many mails of the ledger in a SQLite file, read by its indexes, as they are at one moment.

The file is made on first use, as the ledger's is. The index of `message_id` is
named: left to itself SQLite takes the primary key, and reads all of a cluster.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from postman.adapters._pages import at_most, read_place, write_place
from postman.adapters.sqlite._database import Database
from postman.adapters.sqlite._entries import UNREADABLE, UnknownStateError, load
from postman.adapters.sqlite._file import path_of
from postman.core.ids import MailId
from postman.core.shelf import Shelf
from postman.errors import LedgerUnavailableError
from postman.ports.opening import Cluster
from postman.ports.records import Page, Record

__all__ = ["SqliteRecords", "open_records"]

_Row = tuple[str, float, bytes]

_COUNT: Final = "SELECT shelf, count(*) FROM entries WHERE prefix = ? AND shelf IS NOT NULL GROUP BY shelf"
_NEWEST: Final = """
    SELECT mail_id, since, entry FROM entries WHERE prefix = ? AND shelf = ?
    ORDER BY since DESC, mail_id DESC LIMIT ?
"""
_OLDER: Final = """
    SELECT mail_id, since, entry FROM entries WHERE prefix = ? AND shelf = ? AND (since, mail_id) < (?, ?)
    ORDER BY since DESC, mail_id DESC LIMIT ?
"""
_BY_MESSAGE_ID: Final = """
    SELECT mail_id, since, entry FROM entries INDEXED BY entries_message_id
    WHERE prefix = ? AND message_id = ? LIMIT ?
"""
_BY_RECIPIENT: Final = """
    SELECT mail_id, since, entry FROM entries WHERE prefix = ?1 AND mail_id IN
    (SELECT mail_id FROM recipients WHERE prefix = ?1 AND tag = ?2 LIMIT ?3)
    ORDER BY since DESC
"""


def open_records(path: str, cluster: Cluster) -> "SqliteRecords":
    """Open the records of the ledger in the file at *path*, or in the default one where it is empty."""
    return SqliteRecords(Database(path_of(path), LedgerUnavailableError), cluster.prefix)


class SqliteRecords:
    """See the module. Entries of another *prefix* in the same file are another cluster's."""

    def __init__(self, database: Database, prefix: str) -> None:
        self._database = database
        self._prefix = prefix
        self._told: set[str] = set()

    async def counts(self) -> Mapping[Shelf, int]:
        rows: list[tuple[str, int]] = await self._find(_COUNT, ())
        counts = dict(rows)
        return {shelf: counts.get(shelf, 0) for shelf in Shelf}

    async def page(self, shelf: Shelf, *, after: str = "", limit: int = 50) -> Page:
        limit = at_most(limit)
        place = _place(after)
        query, values = (_NEWEST, (shelf, limit)) if place is None else (_OLDER, (shelf, *place, limit))
        rows: list[_Row] = await self._find(query, values)
        last = write_place(repr(rows[-1][1]), rows[-1][0]) if len(rows) == limit else ""
        return Page(list(self._readable(rows)), last)

    async def by_message_id(self, message_id: str, *, limit: int = 20) -> Sequence[Record]:
        return list(self._readable(await self._find(_BY_MESSAGE_ID, (message_id, at_most(limit)))))

    async def by_recipient(self, tag: str, *, limit: int = 50) -> Sequence[Record]:
        return list(self._readable(await self._find(_BY_RECIPIENT, (tag, at_most(limit)))))

    async def aclose(self) -> None:
        await self._database.aclose()

    async def _find(self, query: str, values: tuple[object, ...]) -> list[Any]:
        def work(connection: sqlite3.Connection) -> list[Any]:
            return connection.execute(query, (self._prefix, *values)).fetchall()

        return await self._database.read(work)

    def _readable(self, rows: Iterable[_Row]) -> Iterator[Record]:
        """Leave out what a newer postman wrote, and what is damaged, and say so once for each mail."""
        for mail_id, _, text in rows:
            try:
                entry, _ = load(text)
            except UNREADABLE as error:
                self._tell(mail_id, error)
                continue
            yield Record(MailId(mail_id), entry)

    def _tell(self, mail_id: str, error: Exception) -> None:
        if mail_id not in self._told:
            import structlog  # late: a command that looks has nothing to log

            self._told.add(mail_id)
            is_newer = isinstance(error, UnknownStateError)
            reason = f"its state {error} is a newer postman's" if is_newer else "it is damaged"
            structlog.get_logger("postman.records").warning("record_left_out", mail_id=mail_id, reason=reason)


def _place(after: str) -> tuple[float, str] | None:
    place = read_place(after)
    try:
        return (float(place[0]), place[1]) if place else None
    except ValueError:
        return None
