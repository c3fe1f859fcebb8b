"""How a body comes in: of bounded size, in bounded time, of so many requests at once and no more."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import web
from aiohttp.http import HttpProcessingError

from postman.entrypoints.serve.answers import Refusal

__all__ = ["Places", "read_body"]

_LONGEST_SILENCE: Final = 5.0
"""Seconds between two pieces of a body."""


class Places:
    """How many bytes of bodies may be held, and how many requests be dealt with at a time.

    Others are told to come again. Bytes count as they arrive: who only announces many keeps nobody away.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._places = most
        self._bytes = most_bytes

    @contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """Give what counts the bytes that arrived, and raises `Refusal` (503) where there is no room for them."""
        held = 0

        def arrived(size: int) -> None:
            nonlocal held
            if self._bytes < size:
                raise _too_many()
            self._bytes -= size
            held += size

        try:
            yield arrived
        finally:
            self._bytes += held

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place for a request whose body is there; raises `Refusal` (503) where there is none."""
        if self._places < 1:
            raise _too_many()
        self._places -= 1
        try:
            yield
        finally:
            self._places += 1


async def read_body(request: web.Request, limit: int, *, within: float, arrived: Callable[[int], None]) -> bytes:
    """Return the whole body as it came, *within* so many seconds, telling *arrived* of every piece.

    Raises `Refusal` for one that is too large, too slow, packed or broken off.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise Refusal(415, "a body with a Content-Encoding is not unpacked here: send it plainly")
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(within):
            return await _read(request, limit, arrived)
    except TimeoutError:
        raise Refusal(408, f"the body did not arrive within {within:g} seconds, or stopped") from None
    except (HttpProcessingError, web.RequestPayloadError, ConnectionError):
        raise Refusal(400, "the body did not arrive whole") from None


async def _read(request: web.Request, limit: int, arrived: Callable[[int], None]) -> bytes:
    body = bytearray()
    while piece := await _piece(request):
        arrived(len(piece))
        body += piece
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


async def _piece(request: web.Request) -> bytes:
    async with asyncio.timeout(_LONGEST_SILENCE):
        return await request.content.readany()


def _too_many() -> Refusal:
    return Refusal(503, "too many requests at once", retry_after=1.0)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"the body has more than {limit} bytes")
