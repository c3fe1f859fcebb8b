"""A table of texts, one for each cluster, which many read and somebody replaces now and then.

The table is made by `ensure`, and by the first change; a look makes nothing, not
even the file. A change is one transaction, which reads the latest text and
writes the next, and is on disk when it returns.
"""

import sqlite3
from collections.abc import Callable
from typing import Final

from postman.adapters.sqlite._database import Database
from postman.adapters.sqlite._file import NotMadeError, path_of
from postman.errors import LedgerUnavailableError

__all__ = ["SingleText"]

_HAS_TABLE: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"


class SingleText:
    """The text in *column* of *table*, both names of ours; that under another *prefix* is another cluster's."""

    def __init__(self, path: str, table: str, column: str, prefix: str) -> None:
        self._database = Database(path_of(path), LedgerUnavailableError)
        self.place = f"table {table} of {self._database.path}, row {prefix}"
        self._table = table
        self._prefix = prefix
        self._make = (
            f"CREATE TABLE IF NOT EXISTS {table} (prefix TEXT NOT NULL PRIMARY KEY, {column} BLOB NOT NULL) "
            "WITHOUT ROWID"
        )
        self._find = f"SELECT {column} FROM {table} WHERE prefix = ?"  # noqa: S608 — names of ours
        self._put = f"INSERT OR REPLACE INTO {table} (prefix, {column}) VALUES (?, ?)"  # noqa: S608 — likewise

    async def read(self) -> bytes | None:
        """Return the text; None where there is none."""
        try:
            return await self._database.read(self._text, make=False)
        except NotMadeError:
            return None

    async def change(self, replace: Callable[[bytes | None], bytes]) -> None:
        """Put what *replace* makes of the text in its place; what it raises changes nothing."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(self._make)
            connection.execute(self._put, (self._prefix, replace(self._text(connection))))

        await self._database.write(work)

    async def ensure(self) -> None:
        """Make the file and the table where they are missing."""
        await self._database.ensure()
        await self._database.write(lambda connection: connection.execute(self._make).close())

    async def aclose(self) -> None:
        """Close the file."""
        await self._database.aclose()

    def _text(self, connection: sqlite3.Connection) -> bytes | None:
        if connection.execute(_HAS_TABLE, (self._table,)).fetchone() is None:
            return None
        row = connection.execute(self._find, (self._prefix,)).fetchone()
        return None if row is None else row[0]
