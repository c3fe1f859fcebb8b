"""How much the proxy holds at a time: so many requests, and so many bytes of their bodies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Room"]


class Room:
    """Lets in *places* requests whose bodies are *size* bytes together; others wait their turn, in order."""

    def __init__(self, places: int, size: int) -> None:
        self._places = places
        self._size = size
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def taken(self, length: int) -> AsyncIterator[None]:
        """Have a place for a body of *length* bytes, no more than the whole size."""
        async with self._turn:
            while not self._places or self._size < length:
                self._freed.clear()
                await self._freed.wait()
            self._places -= 1
            self._size -= length
        try:
            yield
        finally:
            self._places += 1
            self._size += length
            self._freed.set()
