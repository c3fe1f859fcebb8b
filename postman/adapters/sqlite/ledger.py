"""The ledger in a SQLite file: the default where nothing is set up.

`sqlite:PATH` (empty: `.postman/postman.db`) may be the file of the queues, and
is made on first use as theirs is. It needs a local disk.

*Guarantees.* Each call is one transaction, on disk when it returns; calls that
come together share a write to the disk. Its time is the machine's wall clock
(`Clock.time`), which its processes share: if that is put forward, leases end
early, which puts mails in doubt but sends none twice.

Entries of mails that were sent, refused or freed are forgotten 90 days after
their last change, a few hundred at a time along with other changes. One that
is being sent or in doubt is kept, however old: its mail may still come.
"""

import sqlite3
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from postman.adapters._ledger import Transition, TransitionLedger
from postman.adapters.sqlite._columns import columns_of
from postman.adapters.sqlite._database import Database
from postman.adapters.sqlite._entries import UnknownStateError, dump, load, recipients_in
from postman.adapters.sqlite._file import path_of
from postman.core.ids import MailId
from postman.core.protocol import Entry, State
from postman.errors import EntryOfNewerVersionError, LedgerUnavailableError
from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.opening import Cluster

__all__ = ["SqliteLedger", "open_ledger"]

_T = TypeVar("_T")

_KEPT: Final = 90 * 86_400.0
"""Seconds for which an entry that nothing changes is kept."""

_PRUNE_EVERY: Final = 10.0
"""Seconds between two steps of forgetting, of one process."""

_PRUNE_COUNT: Final = 500

_FOR_EVER: Final = frozenset({State.SENDING, State.IN_DOUBT})

_FIND: Final = "SELECT entry FROM entries WHERE prefix = ? AND mail_id = ?"
_PUT: Final = """
    INSERT INTO entries (prefix, mail_id, state, expire_at, entry, shelf, since, message_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (prefix, mail_id) DO UPDATE
    SET state = excluded.state, expire_at = excluded.expire_at, entry = excluded.entry,
        shelf = excluded.shelf, since = excluded.since, message_id = excluded.message_id
"""
_PUT_RECIPIENT: Final = "INSERT OR IGNORE INTO recipients (prefix, tag, mail_id) VALUES (?, ?, ?)"
_OLD: Final = "SELECT prefix, mail_id, entry FROM entries WHERE expire_at <= ? ORDER BY expire_at LIMIT ?"
_FORGET: Final = "DELETE FROM entries WHERE prefix = ? AND mail_id = ?"
_FORGET_RECIPIENT: Final = "DELETE FROM recipients WHERE prefix = ? AND tag = ? AND mail_id = ?"


def open_ledger(path: str, cluster: Cluster) -> Ledger:
    """Open the ledger in the file at *path*, or in the default one where it is empty."""
    return SqliteLedger(Database(path_of(path), LedgerUnavailableError), cluster.clock, cluster.prefix)


class SqliteLedger(TransitionLedger):
    """See the module. Entries of another *prefix* in the same file are another cluster's."""

    def __init__(self, database: Database, clock: Clock, prefix: str) -> None:
        self._database = database
        self._clock = clock
        self._prefix = prefix
        self._prune_at = clock.time()

    async def find(self, mail_id: MailId) -> Entry | None:
        return (await self._database.read(lambda connection: self._load(connection, mail_id)))[0]

    async def ensure(self) -> None:
        await self._database.ensure()

    async def check(self) -> None:
        await self._database.check()

    async def aclose(self) -> None:
        await self._database.aclose()

    async def _apply(self, mail_id: MailId, transition: Transition[_T]) -> _T:
        def work(connection: sqlite3.Connection) -> _T:
            now = self._clock.time()
            entry, foreign = self._load(connection, mail_id)
            step = transition(entry, now)
            if step.entry is not None and step.entry != entry:
                self._put(connection, mail_id, step.entry, dump(step.entry, foreign), now)
                if entry is None or step.entry.recipients != entry.recipients:
                    self._put_recipients(connection, mail_id, step.entry)
            self._prune(connection, now)
            return step.answer

        return await self._database.write(work)

    def _load(self, connection: sqlite3.Connection, mail_id: MailId) -> tuple[Entry | None, Mapping[str, Any]]:
        row = connection.execute(_FIND, (self._prefix, mail_id)).fetchone()
        if row is None:
            return None, {}
        try:
            return load(row[0])
        except UnknownStateError as error:
            raise EntryOfNewerVersionError(
                f"{self._database.path} has an entry in the state {error}, of a newer postman: update this one"
            ) from error

    def _put(self, connection: sqlite3.Connection, mail_id: MailId, entry: Entry, text: bytes, now: float) -> None:
        expire_at = None if entry.state in _FOR_EVER else now + _KEPT
        connection.execute(_PUT, (self._prefix, mail_id, entry.state, expire_at, text, *columns_of(entry)))

    def _put_recipients(self, connection: sqlite3.Connection, mail_id: MailId, entry: Entry) -> None:
        for tag in entry.recipients:
            connection.execute(_PUT_RECIPIENT, (self._prefix, tag, mail_id))

    def _prune(self, connection: sqlite3.Connection, now: float) -> None:
        if now >= self._prune_at:
            self._prune_at = now + _PRUNE_EVERY
            for prefix, mail_id, text in connection.execute(_OLD, (now, _PRUNE_COUNT)).fetchall():
                for tag in recipients_in(text):
                    connection.execute(_FORGET_RECIPIENT, (prefix, tag, mail_id))
                connection.execute(_FORGET, (prefix, mail_id))
