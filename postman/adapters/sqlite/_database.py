"""One file, one connection, one thread of its own: so the event loop never waits for a disk.

Changes that come together share one transaction, and so one write to the disk;
each has a savepoint of its own, so that one that fails does not spoil the rest.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar, cast

from postman.adapters._grouping import Grouper
from postman.adapters.sqlite._errors import Unavailable, is_busy, translate
from postman.adapters.sqlite._file import is_same_file, open_file

__all__ = ["Database", "Work"]

_R = TypeVar("_R")

Work = Callable[[sqlite3.Connection], _R]
"""What is done to the database, on its thread; it may run within a transaction that it neither begins nor ends."""

_Item = tuple[Work[object], int]

_MAX_GROUP: Final = 250
_MAX_BYTES: Final = 16_000_000
_PAUSE: Final = 0.001


class Database:
    """See the module. Opening makes no connection; errors are *unavailable*'s and `ConfigError`.

    *patience* is how many seconds a transaction waits for another process that writes. A call waits for one group
    before its own at the most, so it returns or raises within about twice that.
    """

    def __init__(self, path: Path, unavailable: Unavailable, *, patience: float = 5.0) -> None:
        self.path = path
        self._unavailable = unavailable
        self._patience = patience
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="postman-sqlite")
        self._grouper: Grouper[_Item, object] = Grouper(
            self._run_group, limit=_MAX_GROUP, overlap=1, weigh=lambda item: item[1], max_weight=_MAX_BYTES
        )
        self._connection: sqlite3.Connection | None = None
        self._identity: os.stat_result | None = None
        self._made = False
        self._closed = False

    async def write(self, work: Work[_R], *, weight: int = 1) -> _R:
        """Run *work*, of about *weight* bytes, in a transaction; return its result once it is durable.

        Calls take effect in the order in which they were made. What *work* raises is raised, and undoes its changes.
        """
        self._refuse_if_closed()
        return cast("_R", await self._grouper.add((work, weight)))

    async def read(self, work: Work[_R], *, make: bool = True) -> _R:
        """Run *work*, which only reads; where nothing is made yet and *make* is false, raise `NotMadeError` instead."""
        return await self._on_thread(work, make=make)

    async def ensure(self) -> bool:
        """Make the file and its tables where they are missing; return whether they were."""
        self._refuse_if_closed()
        return await self._call(self._ensure)

    async def check(self) -> None:
        """Return if the file is there and can be written, else raise."""
        await self._on_thread(_try_to_write, make=False)

    async def aclose(self) -> None:
        """Finish what is under way and close the file."""
        if self._closed:
            return
        self._closed = True
        await self._grouper.aclose()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    async def _run_group(self, items: Sequence[_Item]) -> Sequence[object]:
        works = [work for work, _ in items]
        results = await self._call(lambda: self._guarded(lambda connection: _transact(connection, works)))
        return [self._translated(result) if isinstance(result, sqlite3.Error) else result for result in results]

    async def _on_thread(self, work: Work[_R], *, make: bool = True) -> _R:
        self._refuse_if_closed()
        return await self._call(lambda: self._guarded(work, make=make))

    async def _call(self, function: Callable[[], _R]) -> _R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise self._unavailable(f"{self.path} was closed")

    def _translated(self, error: sqlite3.Error | OSError) -> Exception:
        translated = translate(error, self.path, self._unavailable)
        translated.__cause__ = error
        return translated

    def _guarded(self, work: Work[_R], *, make: bool = True) -> _R:
        """Run *work* on the thread, again while another process is in its way; after an error the next reconnects."""
        try:
            return _patiently(lambda: work(self._connected(make=make)), self._patience)
        except (sqlite3.Error, OSError) as error:
            self._disconnect()
            raise self._translated(error) from error

    def _ensure(self) -> bool:
        self._made = False
        self._guarded(lambda _: None)
        return self._made

    def _connected(self, *, make: bool) -> sqlite3.Connection:
        if self._connection and self._identity and is_same_file(self.path, self._identity):
            return self._connection
        self._disconnect()
        self._connection, self._made = open_file(self.path, make=make)
        self._identity = self.path.stat()
        return self._connection

    def _disconnect(self) -> None:
        if self._connection:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None


def _patiently(attempt: Callable[[], _R], patience: float) -> _R:
    """Return what *attempt* returns, once no other process holds the lock that it needs.

    Short and even pauses share the file among processes better than SQLite's own, which grow to a tenth of a second.
    """
    until = time.monotonic() + patience
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= until:
                raise
        time.sleep(_PAUSE)


def _transact(connection: sqlite3.Connection, works: Sequence[Work[object]]) -> list[object]:
    """Run all of *works*; return the result or the error of each, or raise what undid them all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        results = [_in_savepoint(connection, work) for work in works]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return results


def _in_savepoint(connection: sqlite3.Connection, work: Work[object]) -> object:
    connection.execute("SAVEPOINT item")
    try:
        result = work(connection)
    except Exception as error:
        if not connection.in_transaction:
            raise  # SQLite undid the whole transaction, not only this item
        connection.execute("ROLLBACK TO item")
        result = error
    connection.execute("RELEASE item")
    return result


def _try_to_write(connection: sqlite3.Connection) -> None:
    """Ask for the right to change something; a transaction alone may begin in a read-only file too."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM messages WHERE id < 0")
    connection.execute("ROLLBACK")
