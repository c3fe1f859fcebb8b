"""Live pages: while somebody looks at one, its changed parts are sent, as server-sent events.

Viewers of the same page share one look and one rendering. One who does not read
is sent away, and comes again by itself, as a browser does after every end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Final

import orjson
import structlog
from aiohttp import web

from postman.entrypoints.console.knowledge import EVERY
from postman.ports.clock import Clock
from postman.runtime.surprise import reason_of

__all__ = ["Render", "Streams"]

_LOG = structlog.get_logger("postman.console")

Render = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns the live parts of a page by their ids."""

_MOST_VIEWERS: Final = 200
_MOST_PAGES: Final = 64
_WAITING: Final = 8
"""Events that wait for a viewer; with more it is sent away."""
_LASTS: Final = 600.0
"""Seconds after which a viewer must come again, so that who may not look any more sees nothing new."""
_WRITES_WITHIN: Final = 10.0
_BEGIN: Final = b"retry: 3000\n\n"
_STILL_HERE: Final = b": still here\n\n"


class Streams:
    """All live pages of one process."""

    def __init__(self, clock: Clock, *, every: float = EVERY) -> None:
        self._clock = clock
        self._every = every
        self._pages: dict[Hashable, _Page] = {}
        self._is_closing = False

    @property
    def viewers(self) -> int:
        """How many look now."""
        return sum(len(page.viewers) for page in self._pages.values())

    async def serve(self, request: web.Request, key: Hashable, render: Render) -> web.StreamResponse:
        """Answer *request* with the changes of the page that *key* stands for, until either side ends it."""
        if self._is_closing or self.viewers >= _MOST_VIEWERS or (key not in self._pages and self._is_full):
            raise web.HTTPServiceUnavailable(text="Too many look at live pages: reload by hand.")
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        page = self._pages.get(key)
        if page is None:
            page = self._pages[key] = _Page(render, self._clock, self._every)
        viewer = page.join()
        try:
            await answer.prepare(request)
            async with asyncio.timeout(_LASTS):
                await _send(answer, viewer)
        except (TimeoutError, ConnectionError):
            pass
        finally:
            page.leave(viewer)
            if not page.viewers and self._pages.get(key) is page:
                del self._pages[key]
                await page.aclose()
        return answer

    async def aclose(self) -> None:
        """End all streams at once."""
        self._is_closing = True
        for page in self._pages.values():
            page.end()

    @property
    def _is_full(self) -> bool:
        return len(self._pages) >= _MOST_PAGES


class _Page:
    def __init__(self, render: Render, clock: Clock, every: float) -> None:
        self.viewers: set[asyncio.Queue[bytes | None]] = set()
        self._render = render
        self._clock = clock
        self._every = every
        self._shown: Mapping[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    def join(self) -> asyncio.Queue[bytes | None]:
        """Begin with all parts, since they changed after the page was made, or while nobody was there."""
        viewer: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING)
        self.viewers.add(viewer)
        if self._shown:
            viewer.put_nowait(_event(self._shown))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return viewer

    def leave(self, viewer: asyncio.Queue[bytes | None]) -> None:
        self.viewers.discard(viewer)

    def end(self) -> None:
        for viewer in self.viewers:
            _tell(viewer, None)

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while True:
                shown = await self._render()
                changed = {name: html for name, html in shown.items() if self._shown.get(name) != html}
                self._shown = shown
                for viewer in self.viewers:
                    _tell(viewer, _event(changed) if changed else _STILL_HERE)
                await self._clock.sleep(self._every)
        except Exception as error:  # noqa: BLE001 — viewers come again by themselves, and find the fault in the log
            _LOG.error("console_stream_failed", **reason_of(error))
        finally:
            self.end()


def _tell(viewer: asyncio.Queue[bytes | None], event: bytes | None) -> None:
    """Hand an event over; one who did not take the last ones finds the end instead."""
    if event is None or viewer.full():
        while not viewer.empty():
            viewer.get_nowait()
        event = None
    viewer.put_nowait(event)


async def _send(answer: web.StreamResponse, viewer: asyncio.Queue[bytes | None]) -> None:
    await answer.write(_BEGIN)
    while (event := await viewer.get()) is not None:
        async with asyncio.timeout(_WRITES_WITHIN):
            await answer.write(event)


def _event(parts: Mapping[str, str]) -> bytes:
    return b"event: parts\ndata: " + orjson.dumps(parts) + b"\n\n"
