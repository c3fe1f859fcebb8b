"""A clock that tests move."""

import asyncio
import heapq
from itertools import count

__all__ = ["FakeClock"]


class FakeClock:
    """Stands still until something sleeps on it with nobody else to wait for, or until it is moved.

    `sleep` moves it at once when *auto* is set (the default); otherwise sleepers wait for `advance`.
    """

    def __init__(self, *, start: float = 1_000.0, wall: float = 1_700_000_000.0, auto: bool = True) -> None:
        self._now = start
        self._offset = wall - start
        self._auto = auto
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    def time(self) -> float:
        return self._now + self._offset

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
        elif self._auto:
            self._now += seconds
            await asyncio.sleep(0)
        else:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
            await future

    async def advance(self, seconds: float) -> None:
        """Move by *seconds*, waking sleepers in the order in which they are due."""
        for _ in range(5):
            await asyncio.sleep(0)
        until = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            due, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, due)
            if not future.done():
                future.set_result(None)
            for _ in range(20):
                await asyncio.sleep(0)
        self._now = until
        await asyncio.sleep(0)
