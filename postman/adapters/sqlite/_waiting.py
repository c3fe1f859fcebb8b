"""Waiting for messages: one look for all who wait, however many queues they wait at.

SQLite tells nobody that another process wrote. So while somebody waits, the
file is looked at every few hundredths of a second, and less often the longer
nothing comes; what this process itself publishes or gives back wakes at once.
"""

import asyncio
import json
import sqlite3
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from postman.adapters.sqlite._database import Database, Work
from postman.ports.clock import Clock

__all__ = ["Waiting"]

_SHORTEST: Final = 0.02
_LONGEST: Final = 0.15
_GROWTH: Final = 1.3
"""Seconds between two looks, and how they grow: after about two seconds of nothing, seven looks a second."""

_LOOK: Final = """
    SELECT value FROM json_each(?)
    WHERE EXISTS (SELECT 1 FROM messages WHERE queue = json_each.value AND due <= ?)
"""

_Waiter = tuple[float, "asyncio.Future[bool]"]


class Waiting:
    """Who waits at which queue of one database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiters: dict[str, list[_Waiter]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._interval = _SHORTEST

    async def wait(self, queue: str, until: float) -> bool:
        """Return True when *queue* may have a message, False when it is *until* on `Clock.now()`'s scale."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(queue, []).append((until, future))
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look_while_awaited())
        return await future

    def wake(self, queue: str) -> None:
        """Tell those who wait at *queue* that something is there."""
        self._interval = _SHORTEST
        for _, future in self._waiters.pop(queue, ()):
            _answer(future, value=True)

    async def aclose(self) -> None:
        """Answer all who wait, as if their time were over."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        self._end(float("inf"))

    async def _look_while_awaited(self) -> None:
        try:
            while self._waiters:
                await self._clock.sleep(min(self._interval, self._nearest() - self._clock.now()))
                self._interval = min(self._interval * _GROWTH, _LONGEST)
                for queue in await self._database.read(self._look_at(list(self._waiters))):
                    self.wake(queue)
                self._end(self._clock.now())
        except Exception as error:  # noqa: BLE001 — handed to all who wait, who must not wait for ever
            self._fail(error)

    def _look_at(self, queues: Collection[str]) -> Work[Collection[str]]:
        names = json.dumps(queues)

        def look(connection: sqlite3.Connection) -> Collection[str]:
            return [row[0] for row in connection.execute(_LOOK, (names, self._clock.time()))]

        return look

    def _nearest(self) -> float:
        return min((until for waiters in self._waiters.values() for until, _ in waiters), default=0.0)

    def _end(self, now: float) -> None:
        for queue, waiters in list(self._waiters.items()):
            over = [waiter for waiter in waiters if waiter[0] <= now]
            left = [waiter for waiter in waiters if waiter[0] > now]
            self._waiters[queue] = left
            if not left:
                del self._waiters[queue]
            for _, future in over:
                _answer(future, value=False)

    def _fail(self, error: Exception) -> None:
        waiters, self._waiters = self._waiters, {}
        for _, future in (waiter for each in waiters.values() for waiter in each):
            if not future.done():
                future.set_exception(error)


def _answer(future: "asyncio.Future[bool]", *, value: bool) -> None:
    if not future.done():
        future.set_result(value)
