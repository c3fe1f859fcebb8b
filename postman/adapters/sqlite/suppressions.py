"""The suppression list in the SQLite file of the ledger.

Its table is made by `ensure`, and by the first change where a file is from
before there were suppressions. Each change is one transaction, on disk when it
returns, and takes a number that is higher than any before it: by these `changes`
goes, so that nothing is told twice or left out. What ended is deleted along with
later changes: a day after it expired, a week after it was lifted.
"""

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from postman.adapters._suppressions import PAGE, added, forget_at, lifted, reason_named
from postman.adapters.sqlite._database import Database
from postman.adapters.sqlite._file import path_of
from postman.core.suppression import Suppression
from postman.errors import LedgerUnavailableError
from postman.ports.clock import Clock
from postman.ports.opening import Cluster
from postman.ports.suppressions import Changes, Suppressions

__all__ = ["SqliteSuppressions", "open_suppressions"]

_TABLES: Final = (
    # AUTOINCREMENT: a number is never given again, also not that of a row that was deleted.
    """CREATE TABLE IF NOT EXISTS suppressions (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        prefix TEXT NOT NULL,
        key TEXT NOT NULL,
        reason TEXT NOT NULL,
        since REAL NOT NULL,
        expires_at REAL,
        provider TEXT NOT NULL,
        mail_id TEXT NOT NULL,
        detail TEXT NOT NULL,
        is_lifted INTEGER NOT NULL,
        forget_at REAL,
        UNIQUE (prefix, key)
    )""",
    "CREATE INDEX IF NOT EXISTS suppressions_forget_at ON suppressions (forget_at) WHERE forget_at IS NOT NULL",
)
_HAS_TABLE: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'suppressions'"
_COLUMNS: Final = "key, reason, since, expires_at, provider, mail_id, detail, is_lifted"
_PUT: Final = f"""
    INSERT OR REPLACE INTO suppressions (prefix, forget_at, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""  # noqa: S608 — our own names of columns
_FIND: Final = f"SELECT {_COLUMNS} FROM suppressions WHERE prefix = ? AND key = ?"  # noqa: S608 — as above
_CHANGES: Final = f"""
    SELECT {_COLUMNS}, number FROM suppressions WHERE prefix = ? AND number > ? ORDER BY number LIMIT ?
"""  # noqa: S608 — as above
_LAST: Final = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'suppressions'"
_FORGET: Final = "DELETE FROM suppressions WHERE forget_at < ?"


def open_suppressions(path: str, cluster: Cluster) -> Suppressions:
    """Open the list in the file at *path*, or in the default one where it is empty."""
    return SqliteSuppressions(Database(path_of(path), LedgerUnavailableError), cluster.clock, cluster.prefix)


class SqliteSuppressions:
    """See the module. What stands under another *prefix* in the same file is another cluster's."""

    def __init__(self, database: Database, clock: Clock, prefix: str, *, page: int = PAGE) -> None:
        self._database = database
        self._clock = clock
        self._prefix = prefix
        self._page = page

    async def put(self, suppression: Suppression) -> None:
        await self._change(suppression.key, lambda old: added(old, suppression))

    async def lift(self, key: str) -> Suppression | None:
        return await self._change(key, lambda old: lifted(old, self._clock.time()))

    async def find(self, key: str) -> Suppression | None:
        return await self._database.read(lambda connection: self._find(connection, key))

    async def changes(self, cursor: str = "") -> Changes:
        def work(connection: sqlite3.Connection) -> tuple[int, list[Any]]:
            if not _has_table(connection):
                return 0, []
            [last] = connection.execute(_LAST).fetchone()
            told = int(cursor or 0)
            begin = told if told <= last else 0  # of another file, which was here before
            return begin, connection.execute(_CHANGES, (self._prefix, begin, self._page)).fetchall()

        begin, rows = await self._database.read(work)
        last = rows[-1][-1] if rows else begin
        return Changes([_suppression(*row[:-1]) for row in rows], str(last), has_more=len(rows) == self._page)

    async def ensure(self) -> None:
        await self._database.ensure()
        await self._database.write(_make_tables)

    async def aclose(self) -> None:
        await self._database.aclose()

    async def _change(self, key: str, step: Callable[[Suppression | None], Suppression | None]) -> Suppression | None:
        """Keep what *step* makes of what stands there, and return the latter; None where there is no change."""

        def work(connection: sqlite3.Connection) -> Suppression | None:
            _make_tables(connection)
            stood = self._find(connection, key)
            if (after := step(stood)) is None:
                return None
            connection.execute(_FORGET, (self._clock.time(),))
            connection.execute(_PUT, (self._prefix, forget_at(after), *_values(after)))
            return stood

        return await self._database.write(work)

    def _find(self, connection: sqlite3.Connection, key: str) -> Suppression | None:
        if not _has_table(connection):
            return None
        row = connection.execute(_FIND, (self._prefix, key)).fetchone()
        return None if row is None else _suppression(*row)


def _make_tables(connection: sqlite3.Connection) -> None:
    for statement in _TABLES:
        connection.execute(statement)


def _has_table(connection: sqlite3.Connection) -> bool:
    return connection.execute(_HAS_TABLE).fetchone() is not None


def _values(suppression: Suppression) -> tuple[object, ...]:
    """In the order of the columns."""
    return (
        suppression.key,
        str(suppression.reason),
        suppression.since,
        suppression.expires_at,
        suppression.provider,
        suppression.mail_id,
        suppression.detail,
        suppression.is_lifted,
    )


def _suppression(
    key: str,
    reason: str,
    since: float,
    expires_at: float | None,
    provider: str,
    mail_id: str,
    detail: str,
    is_lifted: int,
) -> Suppression:
    return Suppression(
        key, reason_named(reason), since, expires_at, provider, mail_id, detail, is_lifted=bool(is_lifted)
    )
