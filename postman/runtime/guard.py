"""The gate over the mails that a worker holds.

Whoever wants to take mails asks for places first; when the gate closes, nobody
gets any more.
"""

import asyncio
from collections import deque

__all__ = ["Guard"]


class Guard:
    """A gate with *capacity* places; used from one event loop."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held = 0
        self._closed = asyncio.Event()
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def held(self) -> int:
        """How many places are taken."""
        return self._held

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    async def enter(self, most: int = 1) -> int:
        """Take up to *most* places, at least one, waiting for it; 0 once the gate is closed."""
        while not self.is_closed and self._held >= self._capacity:
            await self._wait_for_turn()
        if self.is_closed:
            return 0
        taken = min(most, self._capacity - self._held)
        self._held += taken
        self._wake()
        return taken

    def exit(self, places: int = 1) -> None:
        """Leave *places* that were taken."""
        self._held -= places
        self._wake()

    def close(self) -> None:
        """Let nobody in any more; closing twice is fine."""
        self._closed.set()
        while self._waiters:
            self._release(self._waiters.popleft())

    async def wait_until_closed(self) -> None:
        await self._closed.wait()

    async def _wait_for_turn(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(future)
        try:
            await future
        except asyncio.CancelledError:
            self._wake()
            raise

    def _wake(self) -> None:
        while self._waiters and self._held < self._capacity:
            if self._release(self._waiters.popleft()):
                return

    @staticmethod
    def _release(future: "asyncio.Future[None]") -> bool:
        if future.done():
            return False
        future.set_result(None)
        return True
