"""What a function works with: opened at its first request, kept for all of them, and closed before the server ends.

The framework tells a function neither that its process begins nor that it ends.
So the first request opens what all need, in the server's own event loop (after
it has forked its processes), and listens for the signals that the server
listens for. When one comes no request is taken any more, those under way are
finished and all is closed; only then does the server hear of it. A second
signal goes to the server at once.
"""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from types import FrameType
from typing import Final, Generic, TypeVar

import structlog

from postman.entrypoints.serve.answers import Refusal
from postman.errors import PostmanError

__all__ = ["Resident"]

_LOG = structlog.get_logger("postman.functions")

_T = TypeVar("_T")
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""The last is what the server's first process makes of a SIGINT that it gets alone; its own does nothing with it."""
_COME_AGAIN: Final = 5.0


class Resident(Generic[_T]):
    """See the module; one for each target of a process.

    *opening* opens and closes. When the process is told to end *ending* is called first, then the requests under way
    have *grace* seconds.
    """

    def __init__(
        self,
        opening: Callable[[], AbstractAsyncContextManager[_T]],
        *,
        ending: Callable[[_T], None] = lambda _: None,
        grace: float,
    ) -> None:
        self._opening = opening
        self._ending = ending
        self._grace = grace
        self._in_use = 0
        self._unused = asyncio.Event()
        self._is_ending = False
        self._life: asyncio.Task[None] | None = None
        self._told: asyncio.Future[int] | None = None
        self._opened: asyncio.Future[_T] | None = None

    @asynccontextmanager
    async def using(self) -> AsyncIterator[_T]:
        """Give what is open, for one request. Raises `Refusal` (503) where it cannot be opened, and while it ends."""
        opened = await asyncio.shield(self._open())
        if self._is_ending:
            raise _ending()
        self._in_use += 1
        try:
            yield opened
        finally:
            self._in_use -= 1
            self._unused.set()

    async def aclose(self) -> None:
        """End as a signal would make it, but for the server, which hears of nothing."""
        if self._told is not None and not self._told.done():
            self._told.set_result(0)
        if self._life is not None:
            await self._life

    def _open(self) -> "asyncio.Future[_T]":
        if self._is_ending:
            raise _ending()
        if self._opened is None or self._life is None or self._life.done():
            loop = asyncio.get_running_loop()
            self._opened, self._told = loop.create_future(), loop.create_future()
            self._life = asyncio.create_task(self._live(self._opened, self._told))
        return self._opened

    async def _live(self, ready: "asyncio.Future[_T]", told: "asyncio.Future[int]") -> None:
        try:
            with _noticing(told):
                async with self._opening() as opened:
                    ready.set_result(opened)
                    number = await told
                    self._is_ending = True
                    self._ending(opened)
                    await self._until_unused()
        except PostmanError as error:
            _LOG.error("not_opened", reason=str(error))
            if ready.done():
                raise
            ready.set_exception(Refusal(503, "it cannot start; why is in the log", retry_after=_COME_AGAIN))
            return
        if number:
            signal.raise_signal(signal.SIGTERM if number == signal.SIGQUIT else number)

    async def _until_unused(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._grace):
                while self._in_use:
                    self._unused.clear()
                    await self._unused.wait()


@contextmanager
def _noticing(told: "asyncio.Future[int]") -> Iterator[None]:
    """Hear of the first signal in place of whoever listens now, who then listens again."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may listen
        return
    loop, before = asyncio.get_running_loop(), {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        while before:
            signal.signal(*before.popitem())

    def tell(number: int) -> None:
        if not told.done():
            told.set_result(number)

    def notice(number: int, _frame: FrameType | None) -> None:
        restore()
        loop.call_soon_threadsafe(tell, number)

    for number in _SIGNALS:
        signal.signal(number, notice)
    try:
        yield
    finally:
        restore()


def _ending() -> Refusal:
    return Refusal(503, "this process is ending", retry_after=1.0)
