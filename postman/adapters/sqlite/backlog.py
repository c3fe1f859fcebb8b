"""The backlog of queues in a SQLite file, exact at every look, by one query for all shards.

The query reads an index only, but for the oldest message of each queue: ids are
given in the order of publishing, so the lowest is the oldest. A look makes
nothing, not even the file; where there is none, nothing waits.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from postman.adapters.sqlite._database import Database
from postman.adapters.sqlite._file import NotMadeError, path_of
from postman.errors import QueueUnavailableError
from postman.ports.backlog import Backlog
from postman.ports.clock import Clock
from postman.ports.opening import Cluster

__all__ = ["SqliteBacklogs", "open_backlogs"]

_COUNT: Final = """
    SELECT counted.queue, total, published_at
    FROM (SELECT queue, count(*) AS total, min(id) AS first FROM messages
          WHERE queue IN (SELECT value FROM json_each(?)) GROUP BY queue) AS counted
    JOIN messages ON messages.id = first
"""


def open_backlogs(path: str, cluster: Cluster) -> "SqliteBacklogs":
    """Open the file at *path*, or the default one where it is empty."""
    return SqliteBacklogs(Database(path_of(path), QueueUnavailableError), cluster.clock, cluster.prefix)


class SqliteBacklogs:
    """See the module."""

    def __init__(self, database: Database, clock: Clock, prefix: str) -> None:
        self._database = database
        self._clock = clock
        self._prefix = prefix

    async def look(self, shards: Sequence[int]) -> Mapping[int, Backlog]:
        return await self._look({f"{self._prefix}-mail-{shard}": shard for shard in shards})

    async def look_dead(self, shards: Sequence[int]) -> Mapping[int, Backlog]:
        return await self._look({f"{self._prefix}-mail-{shard}-dead": shard for shard in shards})

    async def aclose(self) -> None:
        await self._database.aclose()

    async def _look(self, queues: Mapping[str, int]) -> Mapping[int, Backlog]:
        try:
            found = await self._database.read(_counting(list(queues)), make=False)
        except NotMadeError:
            found = {}
        now = self._clock.time()
        counted = {queue: Backlog(total, max(0.0, now - since), now) for queue, (total, since) in found.items()}
        return {shard: counted.get(queue, Backlog(0, 0.0, now)) for queue, shard in queues.items()}


def _counting(queues: Sequence[str]) -> Callable[[sqlite3.Connection], dict[str, tuple[int, float]]]:
    """Return a work that tells of each queue that has a message: how many, and when the oldest was published."""
    names = json.dumps(queues)
    return lambda connection: {queue: (total, since) for queue, total, since in connection.execute(_COUNT, (names,))}
