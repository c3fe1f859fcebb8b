"""The roster in the SQLite file of the ledger.

Its table is made by `ensure`, and by the first report where a file is from
before there were rosters. Each report is one transaction, on disk when it
returns, and deletes what is older than a day. Time is the wall clock that the
machine's processes share.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from postman.adapters._roster import ReportReader, dump_report
from postman.adapters.sqlite._database import Database
from postman.adapters.sqlite._file import path_of
from postman.core.fleet.reports import WorkerReport
from postman.errors import LedgerUnavailableError
from postman.ports.clock import Clock
from postman.ports.opening import Cluster
from postman.ports.roster import KEPT, Roster

__all__ = ["SqliteRoster", "open_roster"]

_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS workers (
        prefix TEXT NOT NULL,
        worker TEXT NOT NULL,
        at REAL NOT NULL,
        report BLOB NOT NULL,
        PRIMARY KEY (prefix, worker)
    ) WITHOUT ROWID
"""
_HAS_TABLE: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'workers'"
_PUT: Final = "INSERT OR REPLACE INTO workers (prefix, worker, at, report) VALUES (?, ?, ?, ?)"
_FIND: Final = "SELECT worker, report FROM workers WHERE prefix = ? AND at >= ?"
_FORGET: Final = "DELETE FROM workers WHERE at < ?"


def open_roster(path: str, cluster: Cluster) -> Roster:
    """Open the roster in the file at *path*, or in the default one where it is empty."""
    return SqliteRoster(Database(path_of(path), LedgerUnavailableError), cluster.clock, cluster.prefix)


class SqliteRoster:
    """See the module. Workers of another *prefix* in the same file are another cluster's."""

    def __init__(self, database: Database, clock: Clock, prefix: str) -> None:
        self._database = database
        self._clock = clock
        self._prefix = prefix
        self._reader = ReportReader()

    async def report(self, report: WorkerReport) -> None:
        text, oldest = dump_report(report), self._clock.time() - KEPT

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_TABLE)
            connection.execute(_FORGET, (oldest,))
            connection.execute(_PUT, (self._prefix, report.worker, report.at, text))

        await self._database.write(work)

    async def reports(self, since: float) -> Sequence[WorkerReport]:
        def work(connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
            if connection.execute(_HAS_TABLE).fetchone() is None:
                return []
            return connection.execute(_FIND, (self._prefix, since)).fetchall()

        return self._reader.read(await self._database.read(work))

    async def ensure(self) -> None:
        await self._database.ensure()
        await self._database.write(lambda connection: connection.execute(_TABLE).close())

    async def aclose(self) -> None:
        await self._database.aclose()
