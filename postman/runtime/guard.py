"""The gate over the mails that a worker holds.

Whoever wants to take mails takes places first; when the gate closes, nobody
gets any more.
"""

import asyncio

__all__ = ["Guard"]


class Guard:
    """A gate with *capacity* places, which may change; used from one event loop."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.news = asyncio.Event()
        """Set when places are left and when the gate closes; who waits for it clears it."""
        self._held = 0
        self._closed = asyncio.Event()

    @property
    def held(self) -> int:
        """How many places are taken."""
        return self._held

    @property
    def free(self) -> int:
        """How many places can be taken; 0 once the gate is closed."""
        return 0 if self.is_closed else max(0, self.capacity - self._held)

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    def enter(self, most: int) -> int:
        """Take up to *most* places; return how many."""
        taken = min(most, self.free)
        self._held += taken
        return taken

    def exit(self, places: int = 1) -> None:
        """Leave *places* that were taken."""
        self._held -= places
        self.news.set()

    def close(self) -> None:
        """Let nobody in any more; closing twice is fine."""
        self._closed.set()
        self.news.set()

    async def wait_until_closed(self) -> None:
        await self._closed.wait()
