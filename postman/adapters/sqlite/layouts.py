"""The layout in the SQLite file of the ledger: one row for each cluster.

Its table is made by `ensure`, and by the first change; a look makes nothing, not
even the file. A change is one transaction, which reads the latest epoch and
writes the next, and is on disk when it returns.
"""

import sqlite3
from typing import Final

from postman.adapters._layouts import check_follows, dump_layout, load_layout
from postman.adapters.sqlite._database import Database
from postman.adapters.sqlite._file import NotMadeError, path_of
from postman.core.layout import Layout
from postman.errors import LedgerUnavailableError
from postman.ports.layouts import Layouts
from postman.ports.opening import Cluster

__all__ = ["SqliteLayouts", "open_layouts"]

_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS layouts (prefix TEXT NOT NULL PRIMARY KEY, layout BLOB NOT NULL) WITHOUT ROWID
"""
_HAS_TABLE: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'layouts'"
_FIND: Final = "SELECT layout FROM layouts WHERE prefix = ?"
_PUT: Final = "INSERT OR REPLACE INTO layouts (prefix, layout) VALUES (?, ?)"


def open_layouts(path: str, cluster: Cluster) -> Layouts:
    """Open the layout in the file at *path*, or in the default one where it is empty."""
    return SqliteLayouts(Database(path_of(path), LedgerUnavailableError), cluster.prefix)


class SqliteLayouts:
    """See the module. What stands under another *prefix* in the same file is another cluster's."""

    def __init__(self, database: Database, prefix: str) -> None:
        self._database = database
        self._prefix = prefix
        self._place = f"table layouts of {database.path}, row {prefix}"

    async def read(self) -> Layout | None:
        try:
            return await self._database.read(self._find, make=False)
        except NotMadeError:
            return None

    async def change(self, layout: Layout) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_TABLE)
            check_follows(self._find(connection), layout)
            connection.execute(_PUT, (self._prefix, dump_layout(layout)))

        await self._database.write(work)

    async def ensure(self) -> None:
        await self._database.ensure()
        await self._database.write(lambda connection: connection.execute(_TABLE).close())

    async def aclose(self) -> None:
        await self._database.aclose()

    def _find(self, connection: sqlite3.Connection) -> Layout | None:
        if connection.execute(_HAS_TABLE).fetchone() is None:
            return None
        row = connection.execute(_FIND, (self._prefix,)).fetchone()
        return None if row is None else load_layout(row[0], self._place)
