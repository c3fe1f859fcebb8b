"""Calls that begin, stay inside, and end when they are told to, so that they overlap in a known order."""

import threading
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Coroutine, Generator
from queue import SimpleQueue
from typing import Any, Protocol

__all__ = ["CoroutineFlight", "Flight", "OneAtATimeError", "ThreadFlight"]

_PATIENCE = 0.05
"""Seconds for a thread to come inside, or out; one that did not is waiting for another."""


class OneAtATimeError(Exception):
    """The call waits until another one ends: the breaker holds its lock while it calls."""


class Flight(Protocol):
    """One call through a breaker."""

    cancelled: type[BaseException]
    """What this kind of call raises where its caller gives up."""
    is_inside: bool
    """Whether it passed the breaker."""
    is_over: bool

    def end(self, error: BaseException | None = None) -> BaseException | None:
        """Let it raise *error*, or return; return what its caller sees. `OneAtATimeError` where it cannot end yet."""
        ...


class _Pause:
    def __await__(self) -> Generator[None]:
        yield


class CoroutineFlight:
    """A coroutine that is moved by hand, without an event loop."""

    cancelled: type[BaseException] = CancelledError

    def __init__(self, begin: Callable[[Callable[[], Awaitable[None]]], Coroutine[Any, Any, object]]) -> None:
        self.is_inside = False
        self.is_over = False
        self._seen: BaseException | None = None
        self._coroutine = begin(self._inside)
        self._step(lambda: self._coroutine.send(None))

    def end(self, error: BaseException | None = None) -> BaseException | None:
        if not self.is_over:
            self._step(lambda: self._coroutine.send(None) if error is None else self._coroutine.throw(error))
        return self._seen

    async def _inside(self) -> None:
        self.is_inside = True
        await _Pause()

    def _step(self, move: Callable[[], object]) -> None:
        try:
            move()
        except StopIteration:
            self.is_over = True
        except BaseException as error:  # noqa: BLE001 — whatever its caller sees is the finding
            self.is_over = True
            self._seen = error


class ThreadFlight:
    """A thread of its own."""

    cancelled: type[BaseException] = KeyboardInterrupt

    def __init__(self, call: Callable[[Callable[[], None]], object]) -> None:
        self.is_inside = False
        self.is_over = False
        self._seen: BaseException | None = None
        self._call = call
        self._endings: SimpleQueue[BaseException | None] = SimpleQueue()
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._settled.wait(_PATIENCE)

    def end(self, error: BaseException | None = None) -> BaseException | None:
        if not self.is_over:
            self._endings.put(error)
            self._thread.join(_PATIENCE)
        if not self.is_over:
            raise OneAtATimeError
        return self._seen

    def _run(self) -> None:
        try:
            self._call(self._inside)
        except BaseException as error:  # noqa: BLE001 — whatever its caller sees is the finding
            self._seen = error
        self.is_over = True
        self._settled.set()

    def _inside(self) -> None:
        self.is_inside = True
        self._settled.set()
        ending = self._endings.get()
        if ending is not None:
            raise ending
