"""Queues in a SQLite file: the default where nothing is set up.

`sqlite:PATH` (empty: `.postman/postman.db`) needs a local disk, since SQLite's
log does not work over network file systems. The file, readable by its owner
only, and the folder it lies in are made on first use, so `postman init` is
needed only to make them beforehand; `check` alone insists that they are there,
and `depth` makes nothing.

*Delivery semantics.* At least once. `publish` returns when the message has
reached the disk and would survive a power cut. A message is held by one worker
at a time, among all processes of the machine: it is taken in one transaction,
and its receipt names the attempt, so that a late ack touches no newer delivery.
Messages come in the order in which they were published, also when they come
again. Attempts are exact and without a limit, and nothing is dead-lettered by
itself. A lease is an age on the machine's wall clock (`Clock.time`), the only one
that its processes share and that outlives a restart: if that clock is put
forward, leases end early and messages come twice, which the ledger sees.

*Settings.* `Cluster.ack_deadline` is the length of a lease, `Cluster.prefix`
begins the names of queues, so that several clusters may share one file.
A process that waits looks 7 to 50 times a second, once for all its queues.
"""

import json
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from postman.adapters._grouping import Grouper
from postman.adapters._numbered import Numbered
from postman.adapters._settling import Settling
from postman.adapters.sqlite._database import Database
from postman.adapters.sqlite._file import NotMadeError, path_of
from postman.adapters.sqlite._waiting import Waiting
from postman.core.layout import MOST_SHARDS
from postman.errors import ConfigError, QueueUnavailableError
from postman.ports.clock import Clock
from postman.ports.opening import Cluster
from postman.ports.queue import Delivery, Message, Queue, ShardMap

__all__ = ["SqliteQueue", "SqliteShards", "open_shards"]

_MAX_PULL_BYTES: Final = 32_000_000
"""No more are handed out by one pull once their data reach this."""

_RECEIPT: Final = re.compile(r"(\d{1,18}):(\d{1,18})", re.ASCII)

_ADD: Final = "INSERT INTO messages (queue, due, attempt, held, published_at) VALUES (?, 0, 0, 0, ?)"
_ADD_CONTENT: Final = "INSERT INTO contents (id, attributes, data) VALUES (?, ?, ?)"
_FREE_LAPSED: Final = "UPDATE messages SET due = 0 WHERE queue = ? AND due > 0 AND due <= ?"
_FIND_FREE: Final = """
    SELECT id, attempt + 1, published_at, attributes, data FROM messages JOIN contents USING (id)
    WHERE queue = ? AND due = 0 ORDER BY id LIMIT ?
"""
_HOLD: Final = "UPDATE messages SET due = ?, attempt = ?, held = 1 WHERE id = ?"
_EXTEND: Final = "UPDATE messages SET due = ? WHERE id = ? AND attempt = ? AND held = 1"
_GIVE_BACK: Final = "UPDATE messages SET due = ?, held = 0 WHERE id = ? AND attempt = ? AND held = 1"
_REMOVE: Final = "DELETE FROM messages WHERE id = ? AND attempt = ?"
_COUNT: Final = "SELECT count(*) FROM messages WHERE queue = ?"
_REMOVE_CONTENT: Final = "DELETE FROM contents WHERE id = ?"


def open_shards(path: str, cluster: Cluster) -> ShardMap:
    """Open the queues in the file at *path*, or in the default one where it is empty."""
    return SqliteShards(Database(path_of(path), QueueUnavailableError), cluster)


class SqliteShards:
    """All queues of a cluster, in one file."""

    def __init__(self, database: Database, cluster: Cluster) -> None:
        self._database = database
        self._waiting = Waiting(database, cluster.clock)
        base = f"{cluster.prefix}-mail-"
        self._count = cluster.shards
        self._checks = Grouper[int, None](self._check_file, limit=MOST_SHARDS)
        self._queues = Numbered(lambda shard: SqliteQueue(f"{base}{shard}", database, self._waiting, cluster))
        self._dead = Numbered(lambda shard: SqliteQueue(f"{base}{shard}-dead", database, self._waiting, cluster))

    @property
    def count(self) -> int:
        return self._count

    def queue(self, shard: int) -> Queue:
        return self._queues[shard]

    def dead(self, shard: int) -> Queue:
        return self._dead[shard]

    async def ensure(self, shards: Sequence[int] | None = None) -> Sequence[str]:
        """Make the file, and with it every queue there can be; a queue needs no making of its own."""
        wanted = range(self._count) if shards is None else shards
        names = [queues[shard].name for queues in (self._queues, self._dead) for shard in wanted]
        return names if await self._database.ensure() else []

    async def check(self, shard: int) -> None:
        name = self._queues[shard].name
        try:
            await self._checks.add(shard)
        except (ConfigError, QueueUnavailableError) as error:
            raise type(error)(f"{name} cannot be used: {error}") from error

    async def _check_file(self, shards: Sequence[int]) -> Sequence[None]:
        """All are in one file: one look tells for as many as ask."""
        await self._database.check()
        return [None] * len(shards)

    async def depth(self, shard: int) -> int:
        name = self._queues[shard].name

        def work(connection: sqlite3.Connection) -> int:
            [count] = connection.execute(_COUNT, (name,)).fetchone()
            return int(count)

        try:
            return await self._database.read(work, make=False)
        except NotMadeError:
            return 0

    async def aclose(self) -> None:
        await self._waiting.aclose()
        await self._database.aclose()


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    attempt: int
    published_at: float
    message: Message


class SqliteQueue:
    """One shard's messages, or its dead letters; many such objects, in many processes, may be one queue."""

    def __init__(self, name: str, database: Database, waiting: Waiting, cluster: Cluster) -> None:
        self._name = name
        self._database = database
        self._waiting = waiting
        self._clock: Clock = cluster.clock
        self._ack_deadline = cluster.ack_deadline
        self._settling = Settling()

    @property
    def name(self) -> str:
        return self._name

    async def publish(self, message: Message) -> None:
        attributes = json.dumps(dict(message.attributes))

        def work(connection: sqlite3.Connection) -> None:
            added = connection.execute(_ADD, (self._name, self._clock.time()))
            connection.execute(_ADD_CONTENT, (added.lastrowid, attributes, message.data))

        await self._database.write(work, weight=len(message.data) + len(attributes))
        self._waiting.wake(self._name)

    async def pull(self, *, max_deliveries: int, wait: float) -> Sequence[Delivery]:
        until = self._clock.now() + wait
        deliveries = await self._database.write(lambda connection: self._take(connection, max_deliveries))
        while not deliveries and await self._waiting.wait(self._name, until):
            deliveries = await self._database.write(lambda connection: self._take(connection, max_deliveries))
        return deliveries

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        receipts = [_read(delivery.receipt) for delivery in deliveries]

        def work(connection: sqlite3.Connection) -> None:
            due = self._clock.time() + seconds
            connection.executemany(_EXTEND, [(due, *receipt) for receipt in receipts])

        await self._database.write(work)

    async def ack(self, delivery: Delivery) -> None:
        receipt = _read(delivery.receipt)

        def work(connection: sqlite3.Connection) -> None:
            if connection.execute(_REMOVE, receipt).rowcount:
                connection.execute(_REMOVE_CONTENT, receipt[:1])

        with self._settling.once(delivery.receipt):
            await self._database.write(work)

    async def nack(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        receipt = _read(delivery.receipt)

        def work(connection: sqlite3.Connection) -> None:
            due = self._clock.time() + delay if delay > 0 else 0.0
            connection.execute(_GIVE_BACK, (due, *receipt))

        with self._settling.once(delivery.receipt):
            await self._database.write(work)
        if delay <= 0:
            self._waiting.wake(self._name)

    async def aclose(self) -> None:
        """Nothing of its own to let go: the file is its cluster's."""

    def _take(self, connection: sqlite3.Connection, max_deliveries: int) -> list[Delivery]:
        lease_ends, due = self._clock.now() + self._ack_deadline, self._clock.time() + self._ack_deadline
        connection.execute(_FREE_LAPSED, (self._name, self._clock.time()))
        rows = _find_free(connection, self._name, max_deliveries)
        connection.executemany(_HOLD, [(due, row.attempt, row.id) for row in rows])
        return [
            Delivery(row.message, f"{row.id}:{row.attempt}", row.attempt, lease_ends, row.published_at) for row in rows
        ]


def _find_free(connection: sqlite3.Connection, queue: str, count: int) -> list[_Row]:
    rows: list[_Row] = []
    size = 0
    for number, attempt, published_at, attributes, data in connection.execute(_FIND_FREE, (queue, count)):
        rows.append(_Row(number, attempt, published_at, Message(data, json.loads(attributes))))
        size += len(data)
        if size >= _MAX_PULL_BYTES:
            break
    return rows


def _read(receipt: str) -> tuple[int, int]:
    """Return which message and which of its attempts *receipt* stands for: none, where it is not one of ours."""
    match = _RECEIPT.fullmatch(receipt)
    return (int(match[1]), int(match[2])) if match else (0, 0)
